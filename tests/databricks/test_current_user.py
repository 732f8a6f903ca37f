from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from app.databricks.credentials import ServicePrincipal
from app.databricks.current_user import CurrentUser, CurrentUserLookup
from tests.fakes.serving_endpoint import HttpReply, ServingEndpoint, databricks_error
from tests.fakes.workspaces import workspace_at


async def test_the_current_user_is_looked_up_once() -> None:
    async with ServingEndpoint() as endpoint, workspace_at(endpoint.base_url) as workspace:
        lookup = CurrentUserLookup(workspace)
        found = await asyncio.gather(*(lookup.find() for _ in range(5)))
        assert set(found) == {CurrentUser("ann@example.com", "Ann")}
        assert len(endpoint.identified) == 1


@pytest.mark.parametrize(
    "answer",
    [
        databricks_error(403, "PERMISSION_DENIED", "no"),
        HttpReply(302, "", {"Location": "https://login.example"}),
        HttpReply(200, "<html>"),
        HttpReply(200, ["ann"]),
        HttpReply(200, {"userName": None, "displayName": 7}),
        HttpReply(0),
    ],
    ids=lambda answer: f"{answer.status} {answer.body}"[:20],
)
async def test_a_failed_look_up_of_the_current_user_is_repeated(
    answer: HttpReply, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.databricks.current_user.LOOKUP_TIME_LIMIT_SECONDS", 0.2)
    async with ServingEndpoint() as endpoint, workspace_at(endpoint.base_url) as workspace:
        lookup = CurrentUserLookup(workspace)
        known, endpoint.identity = endpoint.identity, answer
        assert await lookup.find() is None
        monkeypatch.undo()
        endpoint.identity = known
        assert await lookup.find() == CurrentUser("ann@example.com", "Ann")


async def test_a_failed_sign_in_leaves_the_current_user_unknown() -> None:
    async with ServingEndpoint() as endpoint:
        endpoint.sign_in_replies.append(HttpReply(401, {"error": "invalid_client"}))
        credential = ServicePrincipal(endpoint.host, "c", SecretStr("s3cret"))
        async with workspace_at(endpoint.base_url, credential) as workspace:
            assert await CurrentUserLookup(workspace).find() is None
