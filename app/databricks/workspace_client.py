"""The Databricks workspace: its address, and the REST calls that are not the model."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from app.common.identity import AppIdentity, RequestIdentity, UserIdentity
from app.common.net import is_loopback
from app.databricks.credentials import Credential
from app.databricks.renewing_token import CredentialError
from app.databricks.response_bodies import json_object, read_body

_log = logging.getLogger(__name__)

LOOKUP_TIMEOUT_SECONDS = 3
LOOK_UP_AGAIN_AFTER_SECONDS = 60
_ME = "/api/2.0/preview/scim/v2/Me?attributes=userName,displayName"
# A service principal's user name is its application id; https://docs.databricks.com/api/scim/v1/me says no more.
_APPLICATION_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HOST_AND_PORT = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d+)?")


@dataclass(frozen=True, slots=True)
class WorkspaceUrl:
    """`host` is `https://<workspace>`; `model_base_url` is where the OpenAI-compatible paths begin."""

    host: str
    model_base_url: str

    @classmethod
    def parse(cls, base_url: str) -> WorkspaceUrl:
        """Takes the bare workspace, its serving-endpoints or AI gateway address, or an endpoint's invocation URL.

        Raises ValueError.
        """
        given = base_url.strip()
        parts = urlsplit(given if "://" in given else f"https://{given}")
        loopback = is_loopback(parts.hostname or "")
        secure = parts.scheme == "https" or (parts.scheme == "http" and loopback)
        if not _HOST_AND_PORT.fullmatch(parts.netloc) or not parts.hostname or parts.port == 0 or not secure:
            raise ValueError("the workspace's address must begin with https:// and hold no password")
        host = f"{parts.scheme}://{parts.netloc}"
        path = parts.path.rstrip("/")
        for ending in ("/chat/completions", "/responses"):
            path = path.removesuffix(ending)
        if not path or (path.startswith("/serving-endpoints/") and path.endswith("/invocations")):
            path = "/serving-endpoints"
        return cls(host, host + path)

    @property
    def has_serving_endpoints(self) -> bool:
        """Elsewhere, in the AI gateway for one, models are not endpoints and have no task to look up."""
        return self.model_base_url == f"{self.host}/serving-endpoints"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    text: str
    location: str | None = None

    def json_object(self) -> Mapping[str, Any] | None:
        """None when it is anything else."""
        return json_object(self.text)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the workspace takes us for. `user_name` is a user's address, or a service principal's application id."""

    user_name: str
    display_name: str = ""

    @property
    def is_service_principal(self) -> bool:
        return _APPLICATION_ID.fullmatch(self.user_name) is not None


class Workspace:
    def __init__(
        self, address: WorkspaceUrl, credential: Credential, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.address = address
        self.credential = credential
        self._clock = clock
        self._tasks: dict[str, str] = {}
        self._looking_up = asyncio.Lock()
        self._next_lookup_at = 0.0
        self._identity: Identity | None = None
        self._identifying = asyncio.Lock()

    async def token(self, identity: RequestIdentity) -> str:
        """Raises CredentialError."""
        if isinstance(identity, UserIdentity):
            return identity.token.get_secret_value()
        return await self.credential.token()

    def forget_token(self, identity: RequestIdentity) -> bool:
        """The workspace refused the token: whether asking again can give another. A person has to sign in anew."""
        return isinstance(identity, AppIdentity) and self.credential.forget()

    async def endpoint_task(self, endpoint: str) -> str | None:
        """The endpoint's `task`, such as `agent/v1/responses`; None when it has none or it cannot be looked up.

        Asked once. After a failure the next question comes a minute later, so that it cannot slow every turn.
        Raises CredentialError.
        """
        if not self.address.has_serving_endpoints:
            return None
        async with self._looking_up:
            if endpoint not in self._tasks and self._clock() >= self._next_lookup_at:
                await self._look_up(endpoint)
        return self._tasks.get(endpoint) or None

    async def describe(self, endpoint: str, *, within_seconds: float) -> Reply:
        """`GET /api/2.0/serving-endpoints/{name}`, which whoever may query the endpoint may ask.

        Raises CredentialError, aiohttp.ClientError and TimeoutError.
        """
        return await self._get(f"/api/2.0/serving-endpoints/{quote(endpoint, safe='')}", within_seconds=within_seconds)

    async def identity(self) -> Identity | None:
        """Who we are here; None when the workspace does not say so within three seconds, sign-in included.

        Asked once, and again after a failure.
        """
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_SECONDS), self._identifying:
                if self._identity is None:
                    self._identity = _identity_in(await self._get(_ME, within_seconds=LOOKUP_TIMEOUT_SECONDS))
        except (CredentialError, aiohttp.ClientError, TimeoutError) as failure:
            _log.warning("Who we are in the workspace is not known (%s)", type(failure).__name__)
        return self._identity

    async def _get(self, path: str, *, within_seconds: float) -> Reply:
        headers = {"Authorization": f"Bearer {await self.credential.token()}"}
        timeout = aiohttp.ClientTimeout(total=within_seconds)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as http,
            http.get(self.address.host + path, headers=headers, allow_redirects=False) as response,
        ):
            return Reply(response.status, await read_body(response), response.headers.get("Location"))

    async def close(self) -> None:
        await self.credential.close()

    async def _look_up(self, endpoint: str) -> None:
        try:
            reply = await self.describe(endpoint, within_seconds=LOOKUP_TIMEOUT_SECONDS)
        except (aiohttp.ClientError, TimeoutError):
            found = None
        else:
            found = reply.json_object() if reply.status == 200 else None
        if found is not None:
            task = found.get("task")
            self._tasks[endpoint] = task if isinstance(task, str) else ""
        else:
            self._next_lookup_at = self._clock() + LOOK_UP_AGAIN_AFTER_SECONDS


def _identity_in(reply: Reply) -> Identity | None:
    found = (reply.json_object() if reply.status == 200 else None) or {}
    names = [value if isinstance(value, str) else "" for value in (found.get("userName"), found.get("displayName"))]
    return Identity(*names) if names[0] else None
