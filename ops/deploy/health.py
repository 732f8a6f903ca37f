"""Waits until the deployed bot says that it is the new build and well."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException

from ops.deploy import UnhealthyError

_REQUEST_SECONDS = 30.0
_PAUSE_SECONDS = 5.0


def running_build(url: str) -> str | None:
    """The build that answers, asked once; None where none of `python dev.py package` does."""
    _, found, _ = _ask(url)
    return found if found and re.fullmatch(r"[0-9a-f]{12}", found) else None


def wait_for_health(
    url: str,
    build: str,
    timeout_seconds: float,
    rollback_hint: str,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Asks every five seconds. Raises `UnhealthyError`, ending with `rollback_hint`, unless `build` gets healthy."""
    ends = clock() + timeout_seconds
    while True:
        status, found, text = _ask(url)
        if found == build and status == 200:
            return
        if clock() + _PAUSE_SECONDS > ends:
            break
        pause(_PAUSE_SECONDS)
    if found == build:
        raise UnhealthyError(
            f"Build {build} runs, but {url} answers with status {status} after {timeout_seconds:.0f} s: {text}\n"
            f"{rollback_hint}"
        )
    other = f"build {found} still answers" if found else f"there is no answer that names a build ({text})"
    raise UnhealthyError(
        f"Build {build} is in place, but after {timeout_seconds:.0f} s {other} at {url}. "
        f"The Function App's log stream says why.\n{rollback_hint}"
    )


def _ask(url: str) -> tuple[int, str | None, str]:
    """The status, 0 without an answer; the build, if the answer names one; and the text for a person."""
    request = urllib.request.Request(url, headers={"Accept": "application/json", "Cache-Control": "no-cache"})
    try:
        with urllib.request.urlopen(request, timeout=_REQUEST_SECONDS) as response:
            status, content = response.status, response.read(100_000)
    except urllib.error.HTTPError as error:
        with error:
            status, content = error.code, error.read(100_000)
    except (OSError, HTTPException) as error:
        return 0, None, str(getattr(error, "reason", error)) or type(error).__name__
    try:
        answer = json.loads(content)
        return status, str(answer["build"]), content.decode()[:300]
    except (ValueError, KeyError, TypeError):
        return status, None, f"status {status}"
