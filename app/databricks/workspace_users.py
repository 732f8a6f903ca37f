"""The users of a workspace and their groups: https://docs.databricks.com/api/workspace/users/list

Somebody who is no administrator of the workspace is told names alone, without groups.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from app.common.json_values import items, mapping, text
from app.databricks.workspace_client import WorkspaceClient

_MAX_GROUPS = 1_000


@dataclass(frozen=True, slots=True)
class WorkspaceUser:
    """`groups` by their names, those that contain a group of the user among them."""

    user_name: str
    groups: frozenset[str]


class WorkspaceUsers:
    def __init__(self, workspace: WorkspaceClient) -> None:
        self._workspace = workspace

    async def find(self, user_names: Sequence[str]) -> WorkspaceUser | None:
        """The active user who has one of the names, in any case. Raises
        `app.databricks.workspace_errors.WorkspaceError`.
        """
        wanted = {name.casefold() for name in user_names if name}
        if not wanted:
            return None
        # A JSON string is one of SCIM too: https://datatracker.ietf.org/doc/html/rfc7644#section-3.4.2.2
        condition = " or ".join(f"userName eq {json.dumps(name, ensure_ascii=False)}" for name in sorted(wanted))
        query = {"filter": condition, "attributes": "userName,active,groups", "count": "10"}
        found = await self._workspace.request("GET", "/api/2.0/preview/scim/v2/Users", query=query)
        for each in map(mapping, items(found.get("Resources"))):
            name = text(each.get("userName"))
            if name.casefold() in wanted and each.get("active") is not False:
                groups = (text(mapping(group).get("display")) for group in items(each.get("groups"))[:_MAX_GROUPS])
                return WorkspaceUser(name, frozenset(filter(None, groups)))
        return None
