"""One thing that the agent uses: how it is asked for, and what would let the identity in."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from agent_server.handlers.handler import JsonObject
from app.common.identity import RequestIdentity
from app.databricks.workspace_errors import (
    CredentialError,
    WorkspaceError,
    WorkspaceNotFoundError,
    WorkspacePermissionError,
    WorkspaceReplyError,
    WorkspaceSignInError,
    WorkspaceTimeoutError,
    WorkspaceUnreachableError,
)

TIME_LIMIT_SECONDS = 6.0
# https://docs.databricks.com/aws/en/dev-tools/databricks-apps/auth
_MISSING_SCOPES = re.compile(r"does not have required scopes: ([\w.:, -]+)")
_NEW_SCOPES = "Add it to user_api_scopes, stop and start the app, and sign in again"

Ask = Callable[[RequestIdentity], Awaitable[str]]
"""What was found, in a few words. Raises `MissingGrantError`, `WorkspaceError` and others."""


class MissingGrantError(Exception):
    """The identity is known and may see what was asked for, and not use it. `str()` says what it may."""


class NotUsableError(Exception):
    """No grant helps; `str()` says what does."""


@dataclass(frozen=True, slots=True)
class AccessProbe:
    """`what` names it for a person, `grant` is what it takes: "CAN QUERY on the serving endpoint x". `as_app`: the app
    asks for it by itself, whoever has asked the app.
    """

    what: str
    grant: str
    ask: Ask
    as_app: bool = False


@dataclass(frozen=True, slots=True)
class AccessFinding:
    """One line: `says` is a sentence without its full stop."""

    what: str
    ok: bool
    says: str
    seconds: float = 0.0

    def to_json(self) -> JsonObject:
        return {"what": self.what, "ok": self.ok, "says": self.says, "seconds": self.seconds}


async def examine(probe: AccessProbe, identity: RequestIdentity, who: str) -> AccessFinding:
    """Never raises. `who` is the identity's name for a person."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(TIME_LIMIT_SECONDS):
            ok, says = True, await probe.ask(identity)
    except Exception as error:
        ok, says = False, _explained(error, probe, who)
    return AccessFinding(probe.what, ok, says, round(time.monotonic() - started, 2))


def _explained(error: Exception, probe: AccessProbe, who: str) -> str:
    scopes = _MISSING_SCOPES.search(error.detail) if isinstance(error, WorkspaceError) else None
    if scopes:
        return f"the person's token lacks the scope {scopes[1].strip()}. {_NEW_SCOPES}"
    match error:
        case MissingGrantError():
            return f"{error}. Grant {probe.grant} to {who}"
        case NotUsableError():
            return str(error)
        case WorkspacePermissionError():
            return f"not permitted. Grant {probe.grant} to {who}"
        case WorkspaceNotFoundError():
            return f"there is none, or it is not visible. Check its name or id, or grant {probe.grant} to {who}"
        case CredentialError() | WorkspaceSignInError():
            return f"the sign-in was refused ({type(error).__name__}). Check the credential of {who}"
        case WorkspaceTimeoutError() | WorkspaceUnreachableError() | TimeoutError():
            return f"no answer within {TIME_LIMIT_SECONDS:.0f} s. Check the address, and the network from here"
        case WorkspaceReplyError():
            return f"something that is not Databricks' API answers ({error}). Check the address"
        case WorkspaceError():
            return f"refused: {error.detail or error}"
        case _:
            return f"{type(error).__name__}. The server's log has more"
