"""The page shows who is signed in, and as whom Databricks is asked."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from agent_server.identity.server_caller import LOCAL_OWNER, ServerCaller
from agent_server.page.signed_in import PageFeatures, SignedIn
from app.common.identity import UserIdentity
from app.databricks.current_user import CurrentUser
from tests.agent_server.page.page_server import PageServer

ANN = UserIdentity("4711", SecretStr("secret"))
FOUND = CurrentUser("ann@example.com", "Ann")


@pytest.mark.parametrize(
    ("caller", "asks_databricks", "found", "identity", "name", "says"),
    [
        (ServerCaller("4711", "Ann", identity=ANN), True, FOUND, "person", "Ann", "asked as you"),
        (ServerCaller("4711", "Ann"), True, FOUND, "app", "Ann", "asked as this app, not as you"),
        (ServerCaller(LOCAL_OWNER), True, FOUND, "local", "Ann", "asked as ann@example.com"),
        (ServerCaller(LOCAL_OWNER), True, CurrentUser("a@b.c"), "local", "a@b.c", "asked as a@b.c"),
        (ServerCaller(LOCAL_OWNER), True, None, "local", "", "has not said whose it is"),
        (ServerCaller(LOCAL_OWNER), False, None, "local", "", "nobody signs in"),
    ],
)
async def test_a_sentence_says_as_whom_databricks_is_asked(
    caller: ServerCaller, asks_databricks: bool, found: CurrentUser | None, identity: str, name: str, says: str
) -> None:
    async def find() -> CurrentUser | None:
        return found

    signed_in = SignedIn(
        title="Agent",
        storage="postgresql",
        features=PageFeatures(files=True, jobs=False, feedback=True),
        max_file_bytes=7,
        image_hosts=(),
        find_user=find if asks_databricks else None,
    )
    told = await signed_in.describe(caller)
    assert (told["identity"], told["name"]) == (identity, name)
    assert says in told["says"]
    assert "secret" not in str(told)


async def test_the_page_learns_what_it_can_offer(page: PageServer) -> None:
    headers = {"X-Forwarded-Email": "ann@example.com", "X-Forwarded-Preferred-Username": "Ann"}
    told = (await page.send("4711@99", "GET", "/api/me", headers=headers)).json()
    del told["says"]
    assert told == {
        "owner": "4711@99",
        "name": "Ann",
        "email": "ann@example.com",
        "identity": "app",
        "title": "Sales agent",
        "storage": "sqlite",
        "features": {"files": True, "jobs": False, "feedback": True},
        "max_file_bytes": 10 * 1024 * 1024,
        "image_hosts": ["img.example"],
    }
