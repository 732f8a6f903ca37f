from __future__ import annotations

from typing import Any

import pytest

from app.databricks.workspace_errors import WorkspacePermissionError
from app.databricks.workspace_users import WorkspaceUser, WorkspaceUsers
from tests.fakes.workspace_api import ApiReply, WorkspaceApi
from tests.fakes.workspaces import workspace_at

ANN = {"userName": "Ann@Example.com", "active": True, "groups": [{"display": "data", "type": "indirect"}]}


async def found(*resources: Any, names: tuple[str, ...] = ("ann@example.com",)) -> tuple[WorkspaceUser | None, str]:
    async with WorkspaceApi() as api, workspace_at(api.url) as workspace:
        api.replies.append(ApiReply(body={"Resources": list(resources)}))
        user = await WorkspaceUsers(workspace).find(names)
        return user, api.requests[0].path_and_query if api.requests else ""


async def test_a_user_is_found_by_one_of_their_names_with_groups() -> None:
    user, asked = await found(ANN, names=("ann@example.com", 'a"\\b@example.com'))
    assert user == WorkspaceUser("Ann@Example.com", frozenset({"data"}))
    assert "userName%20eq" in asked or "userName+eq" in asked
    assert "%5C%22%5C%5Cb" in asked, "what stands in a name does not end the filter's text"


@pytest.mark.parametrize(
    "resource",
    [
        {**ANN, "active": False},
        {**ANN, "userName": "bob@example.com"},
        {"displayName": "Ann", "id": "1"},
        {"userName": None, "groups": 7},
        "ann",
    ],
)
async def test_who_is_not_active_or_not_told_by_name_is_not_found(resource: Any) -> None:
    assert (await found(resource))[0] is None


async def test_nobody_is_asked_for_without_a_name() -> None:
    assert await found(ANN, names=("",)) == (None, "")


async def test_what_the_app_may_not_read_is_an_error() -> None:
    async with WorkspaceApi() as api, workspace_at(api.url) as workspace:
        api.replies.append(ApiReply(403, {"error_code": "PERMISSION_DENIED", "message": "no"}))
        with pytest.raises(WorkspacePermissionError):
            await WorkspaceUsers(workspace).find(["ann@example.com"])
