"""`GET /api/access`."""

from __future__ import annotations

from typing import Any, cast

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from agent_server.access.access_check import AccessCheck
from agent_server.access.access_probe import AccessFinding
from agent_server.http.access_routes import access_routes
from agent_server.identity.request_caller import caller_of
from agent_server.settings import AgentServerSettings, AppEnvironment
from app.common.identity import RequestIdentity, UserIdentity


class Check:
    def __init__(self) -> None:
        self.identities: list[RequestIdentity] = []

    async def run(self, identity: RequestIdentity) -> list[AccessFinding]:
        self.identities.append(identity)
        return [
            AccessFinding("identity", ok=True, says="app", seconds=0.1),
            AccessFinding("job 1", ok=False, says="no"),
        ]


async def test_it_answers_as_the_caller_and_asks_once_in_ten_seconds() -> None:
    check, now = Check(), [0.0]
    settings = AgentServerSettings.model_validate({"AGENT_SERVER_IDENTITY": "person"})
    app = AppEnvironment(name="app")
    api = FastAPI()
    api.include_router(
        access_routes(cast(AccessCheck, check), lambda headers: caller_of(headers, settings, app), lambda: now[0])
    )

    async def ask(user: str) -> Any:
        headers = {"X-Forwarded-User": user, "X-Forwarded-Access-Token": f"token-of-{user}"}
        answer = await client.get("/api/access", headers=headers)
        assert answer.headers["cache-control"] == "no-store"
        return answer.json()

    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://app") as client:
        answer = await ask("anna")
        assert answer["ok"] is False
        assert [(each["what"], each["ok"], each["says"]) for each in answer["findings"]] == [
            ("identity", True, "app"),
            ("job 1", False, "no"),
        ]
        await ask("anna")
        await ask("berta")
        now[0] = 11.0
        await ask("anna")
    assert check.identities == [UserIdentity(user, SecretStr(f"token-of-{user}")) for user in ("anna", "berta", "anna")]
