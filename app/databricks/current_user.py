"""The user or service principal that the app is in the workspace: https://docs.databricks.com/api/workspace/currentuser"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.common.json_values import text
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_errors import WorkspaceError

LOOKUP_TIME_LIMIT_SECONDS = 3.0

# A service principal's user name is its application id.
_APPLICATION_ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """`user_name` is a user's address, or a service principal's application id."""

    user_name: str
    display_name: str = ""

    @property
    def is_service_principal(self) -> bool:
        return _APPLICATION_ID.fullmatch(self.user_name) is not None


class CurrentUserLookup:
    """Asked once, and again after a failure."""

    def __init__(self, workspace: WorkspaceClient) -> None:
        self._workspace = workspace
        self._found: CurrentUser | None = None
        self._looking_up = asyncio.Lock()

    async def find(self) -> CurrentUser | None:
        """None when the workspace does not answer within three seconds, sign-in included."""
        try:
            async with asyncio.timeout(LOOKUP_TIME_LIMIT_SECONDS), self._looking_up:
                if self._found is None:
                    self._found = _user_in(
                        await self._workspace.request(
                            "GET",
                            "/api/2.0/preview/scim/v2/Me",
                            query={"attributes": "userName,displayName"},
                            time_limit_seconds=LOOKUP_TIME_LIMIT_SECONDS,
                            attempts=1,
                        )
                    )
        except (WorkspaceError, TimeoutError) as failure:
            _log.warning("The current user of the workspace could not be looked up (%s)", type(failure).__name__)
        return self._found


def _user_in(found: Mapping[str, Any]) -> CurrentUser | None:
    user_name = text(found.get("userName"))
    return CurrentUser(user_name, text(found.get("displayName"))) if user_name else None
