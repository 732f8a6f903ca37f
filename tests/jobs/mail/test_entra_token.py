"""Tokens for mail, over HTTP against what Entra ID answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from app.jobs.mail.entra_token import GRAPH_SCOPE, EntraClientCredentials, EntraTokenError

GRANTED = {"token_type": "Bearer", "expires_in": 3599, "access_token": "token-1"}


@dataclass
class Login:
    status: int = 200
    body: Any = field(default_factory=lambda: GRANTED)
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.path, dict(await request.post())))
        return web.json_response(self.body, status=self.status)

    def credentials(self, clock: Any) -> EntraClientCredentials:
        secret = SecretStr("s3cret-value")
        return EntraClientCredentials("ten/ant", "client", secret, GRAPH_SCOPE, login_url=self.url, clock=clock)


@asynccontextmanager
async def running(login: Login) -> AsyncIterator[Login]:
    app = web.Application()
    app.router.add_post("/{tenant}/oauth2/v2.0/token", login.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    login.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield login
    finally:
        await runner.cleanup()


async def test_one_token_serves_many_mails_until_it_expires() -> None:
    now = 0.0
    async with running(Login()) as login:
        credentials = login.credentials(lambda: now)
        assert [await credentials.token() for _ in range(3)] == ["token-1"] * 3
        now = 3599.0
        login.body = {**GRANTED, "access_token": "token-2"}
        assert await credentials.token() == "token-2"
        await credentials.close()
    (path, form), _ = login.requests
    assert path == "/ten/ant/oauth2/v2.0/token"
    assert form == {
        "grant_type": "client_credentials",
        "client_id": "client",
        "client_secret": "s3cret-value",
        "scope": GRAPH_SCOPE,
    }


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, {"error": "invalid_client", "error_description": "s3cret-value"}, "401: invalid_client"),
        (200, {"access_token": None}, "200: "),
        (200, ["odd"], "200: "),
        (302, {}, "302: "),
    ],
)
async def test_why_there_is_no_token_is_said_without_the_secret(status: int, body: Any, reason: str) -> None:
    async with running(Login(status, body)) as login:
        with pytest.raises(EntraTokenError) as refusal:
            await login.credentials(lambda: 0.0).token()
    assert reason in str(refusal.value)
    assert "s3cret" not in str(refusal.value)


async def test_an_entra_that_is_away_is_said() -> None:
    async with running(Login()) as login:
        pass
    with pytest.raises(EntraTokenError, match="did not answer"):
        await login.credentials(lambda: 0.0).token()
