"""The deployment site of a Function App on Flex Consumption, as Azure/functions-action speaks to it."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ops.deploy import DeployError

_UPLOAD_SECONDS = 600.0
_STATUS_SECONDS = 30.0
_DEPLOYMENT_SECONDS = 600.0
_PAUSE_SECONDS = 3.0
_SUCCEEDED = 4
_FAILED = {-1: "cancelled", 3: "failed", 5: "superseded by another", 6: "only partly successful"}


def token_audience(host: str) -> str:
    """App Service's own: these sites no longer accept tokens for Resource Manager."""
    return "https://appservice.azure.us" if host.endswith(".us") else "https://appservice.azure.com"


class ScmSite:
    def __init__(self, host: str, token: str, pause: Callable[[float], None] = time.sleep) -> None:
        self._host = host
        self._token = token
        self._pause = pause
        self._tls = ssl.create_default_context()

    def deploy(self, package: Path) -> None:
        """Returns when Azure has taken the package. Raises `DeployError`."""
        path = "/api/publish?RemoteBuild=false&Deployer=dev.py"
        status, answer = self._ask(path, _UPLOAD_SECONDS, package.read_bytes())
        if status == 202 and answer:
            self._wait(str(answer))
        elif status == 409:
            raise DeployError("Another deployment of this Function App is going on. Try again when it has ended.")
        elif status not in (200, 202):
            raise DeployError(f"Azure did not take the package (status {status}): {answer}")

    def _wait(self, deployment: str) -> None:
        began = False
        state: Any = None
        for _ in range(int(_DEPLOYMENT_SECONDS / _PAUSE_SECONDS)):
            try:
                status, state = self._ask(f"/api/deployments/{deployment}", _STATUS_SECONDS)
            except DeployError as error:
                status, state = 0, str(error)  # ask again: only the final state of the deployment counts
            if status == 404 and began:
                return  # the site is replaced with the app; its health will tell
            if status in (200, 202) and isinstance(state, dict):
                began = True
                if state.get("status") == _SUCCEEDED:
                    return
                if state.get("status") in _FAILED:
                    reason = state.get("status_text") or state.get("message") or state
                    raise DeployError(f"Azure's deployment was {_FAILED[state['status']]}: {reason}")
            self._pause(_PAUSE_SECONDS)
        raise DeployError(f"Azure has not finished the deployment within {_DEPLOYMENT_SECONDS:.0f} s: {state}")

    def _ask(self, path: str, limit: float, content: bytes | None = None) -> tuple[int, Any]:
        """The status and the answer, from JSON if it is JSON."""
        headers = {"Authorization": f"Bearer {self._token}", "Cache-Control": "no-cache"}
        if content is not None:
            headers["Content-Type"] = "application/zip"
        request = urllib.request.Request(f"https://{self._host}{path}", content, headers)
        try:
            with urllib.request.urlopen(request, timeout=limit, context=self._tls) as response:
                status, answer = response.status, response.read(1_000_000)
        except urllib.error.HTTPError as error:
            with error:
                status, answer = error.code, error.read(1_000_000)
        except (OSError, HTTPException) as error:
            raise DeployError(f"{self._host} could not be reached: {getattr(error, 'reason', error)}") from None
        text = answer.decode(errors="replace").strip()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text[:300]
