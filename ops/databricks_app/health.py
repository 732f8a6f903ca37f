"""Asks the deployed app, as a program would: over /api, with an OAuth token."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import requests

from ops.databricks_app import AppError

_REQUEST_SECONDS = 30.0
_PAUSE_SECONDS = 3.0
WAIT_SECONDS = 180.0
OAUTH_NEEDED = (
    "The app sends this caller to a sign-in page: apps take OAuth tokens only, no personal access token. "
    "Sign in with `databricks auth login`, and use that profile."
)


def wait_for_health(
    url: str,
    headers: Callable[[], Mapping[str, str]],
    commit: str,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Until the app is healthy, and runs `commit` where that is known. Raises `AppError`."""
    ends = clock() + WAIT_SECONDS
    while True:
        status, found, said = _ask(f"{url}/api/health", headers())
        if status == 200 and (not commit or found == commit):
            return
        if clock() > ends:
            break
        pause(_PAUSE_SECONDS)
    if status == 200:
        raise AppError(
            f"{url} is healthy and still runs {found or 'an unknown commit'} instead of {commit}. "
            "Stop and start the app, so that Databricks installs it anew."
        )
    raise AppError(f"{url}/api/health is not healthy after {WAIT_SECONDS:.0f} s: {said}")


def _ask(url: str, headers: Mapping[str, str]) -> tuple[int, str, str]:
    """The status, 0 without an answer; the commit; and the text for a person. Raises `AppError` for a redirect."""
    try:
        answer = requests.get(url, headers=dict(headers), timeout=_REQUEST_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        return 0, "", str(error)
    if answer.is_redirect:
        raise AppError(OAUTH_NEEDED)
    try:
        commit = str(answer.json().get("git_commit", ""))
    except (ValueError, AttributeError):
        commit = ""
    return answer.status_code, commit, f"status {answer.status_code}: {answer.text[:300]}"
