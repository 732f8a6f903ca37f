from __future__ import annotations

import asyncio

import pytest

from app.databricks.database_token import DatabaseToken
from app.databricks.workspace_errors import CredentialError, WorkspacePermissionError
from tests.fakes.clock import Clock
from tests.fakes.workspace_api import ApiReply, WorkspaceApi
from tests.fakes.workspaces import workspace_at

ENDPOINT = "projects/p/branches/production/endpoints/primary"
# The clock's own moment, 1_800_000_000, is 2027-01-15T08:00:00Z.
IN_AN_HOUR = "2027-01-15T09:00:00.123456789Z"


async def test_a_token_of_an_endpoint_is_asked_for_once_and_renewed_before_it_expires() -> None:
    clock = Clock()
    async with WorkspaceApi() as api, workspace_at(api.url) as workspace:
        api.replies.extend(ApiReply(body={"token": f"t{n}", "expire_time": IN_AN_HOUR}) for n in range(2))
        token = DatabaseToken(workspace, endpoint=ENDPOINT, clock=clock)
        assert set(await asyncio.gather(*(token() for _ in range(5)))) == {"t0"}
        clock.now += 3000
        assert await token() == "t0"
        clock.now += 580
        assert await token() == "t1"
        asked = [(request.method, request.path_and_query, request.body) for request in api.requests]
        assert asked == [("POST", "/api/2.0/postgres/credentials", {"endpoint": ENDPOINT})] * 2
        await token.close()


@pytest.mark.parametrize("expires", ["", "soon", "2027-01-15T08:00:00", "2020-01-01T00:00:00Z"])
async def test_a_token_of_an_instance_whose_end_is_not_known_is_used_for_some_minutes(expires: str) -> None:
    clock = Clock()
    async with WorkspaceApi() as api, workspace_at(api.url) as workspace:
        api.replies.extend(ApiReply(body={"token": f"t{n}", "expiration_time": expires}) for n in range(2))
        token = DatabaseToken(workspace, instance="agents", clock=clock)
        assert (await token(), await token()) == ("t0", "t0")
        clock.now += 890
        assert await token() == "t1"
        assert [request.path_and_query for request in api.requests] == ["/api/2.0/database/credentials"] * 2
        assert [request.body["instance_names"] for request in api.requests] == [["agents"]] * 2
        assert len({request.body["request_id"] for request in api.requests}) == 2
        await token.close()


async def test_without_endpoint_and_instance_the_workspaces_own_token_is_the_password() -> None:
    async with WorkspaceApi() as api, workspace_at(api.url) as workspace:
        token = DatabaseToken(workspace)
        assert await token() == await workspace.credential.token()
        assert api.requests == []
        await token.close()


async def test_an_answer_without_a_token_and_a_refusal_are_errors_and_are_asked_for_again() -> None:
    async with WorkspaceApi() as api, workspace_at(api.url) as workspace:
        refused = ApiReply(403, {"error_code": "PERMISSION_DENIED", "message": "no"})
        api.replies.extend([ApiReply(body={}), refused, ApiReply(body={"token": "t"})])
        token = DatabaseToken(workspace, instance="agents")
        with pytest.raises(CredentialError):
            await token()
        with pytest.raises(WorkspacePermissionError):
            await token()
        assert await token() == "t"
        await token.close()
