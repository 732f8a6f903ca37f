from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msal
import pytest
import requests
from botframework.connector.auth import PasswordServiceClientCredentialFactory, microsoft_app_credentials
from pydantic import SecretStr

from app.bot.auth.app_credentials import AppCredentials, TokenError, TokenRefusedError, TokenUnreachableError
from app.bot.auth.bot_identity import BotIdentity
from app.settings.bot_settings import BotAppType, BotCloud
from tests.fakes.entra import IDENTITY_HEADER, SECRET, Entra

APP = "c9e8c047-2a34-40a1-b28a-b162d5f5327c"
TENANT = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"


@dataclass
class Bot:
    entra: Entra
    credentials: AppCredentials
    clock: list[float]

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(5):
            while len(self.entra.asked) < times:  # noqa: ASYNC110 - asked from a thread of the code under test
                await asyncio.sleep(0.005)


@asynccontextmanager
async def a_bot(
    app_type: BotAppType = "SingleTenant",
    *,
    secret: str = SECRET,
    cloud: BotCloud = "public",
    time_limit_seconds: float = 5,
) -> AsyncIterator[Bot]:
    clock = [0.0]
    async with Entra() as entra:
        credentials = AppCredentials(
            BotIdentity(APP, app_type, TENANT, SecretStr(secret), cloud),
            http_client=entra.http_client,
            clock=lambda: clock[0],
            time_limit_seconds=time_limit_seconds,
        )
        yield Bot(entra, credentials, clock)
        await credentials.close()


async def test_a_single_tenant_bot_signs_in_at_its_own_tenant() -> None:
    async with a_bot() as bot:
        assert await bot.credentials.token() == "token-1"

    asked = bot.entra.asked[0]
    assert (asked["host"], asked["tenant"]) == ("login.microsoftonline.com", TENANT)
    assert (asked["client_id"], asked["scope"]) == (APP, "https://api.botframework.com/.default")


async def test_a_multi_tenant_bot_signs_in_at_the_tenant_of_the_bot_framework() -> None:
    async with a_bot("MultiTenant") as bot:
        await bot.credentials.token()

    assert bot.entra.asked[0]["tenant"] == "botframework.com"


async def test_a_bot_of_a_government_cloud_signs_in_there() -> None:
    async with a_bot(cloud="gcc-high") as bot:
        await bot.credentials.token()

    asked = bot.entra.asked[0]
    assert (asked["host"], asked["scope"]) == ("login.microsoftonline.us", "https://api.botframework.us/.default")


async def test_a_managed_identity_needs_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_bot("UserAssignedMSI", secret="") as bot:
        monkeypatch.setenv("IDENTITY_ENDPOINT", bot.entra.managed_identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        assert await bot.credentials.token() == "token-1"

    assert bot.entra.asked[0]["client_id"] == APP
    assert bot.entra.asked[0]["resource"] == "https://api.botframework.com"


async def test_a_missing_managed_identity_raises_a_token_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK raises KeyError('access_token')."""
    async with a_bot("UserAssignedMSI") as bot:
        monkeypatch.setenv("IDENTITY_ENDPOINT", bot.entra.managed_identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", "wrong")
        with pytest.raises(TokenRefusedError):
            await bot.credentials.token()


async def test_without_an_app_id_no_token_is_requested() -> None:
    credentials = AppCredentials(BotIdentity())

    assert await credentials.token() is None
    await credentials.close()


async def test_one_token_serves_many_turns() -> None:
    async with a_bot() as bot:
        assert {await bot.credentials.token() for _ in range(20)} == {"token-1"}
        bot.clock[0] = 3600 - 301
        assert await bot.credentials.token() == "token-1"

    assert len(bot.entra.asked) == 1


async def test_the_sdk_makes_a_new_client_of_msal_for_every_turn_and_we_one_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []

    class CountedClient:
        def __init__(self, *_: object, **__: object) -> None:
            made.append(threading.current_thread().name)

        def acquire_token_silent(self, *_: object, **__: object) -> None:
            return None

        def acquire_token_for_client(self, **_: object) -> dict[str, object]:
            return {"access_token": "token", "expires_in": 3600}

    monkeypatch.setattr(microsoft_app_credentials, "ConfidentialClientApplication", CountedClient)
    sdk: Any = PasswordServiceClientCredentialFactory(APP, SECRET)
    for _ in range(3):
        credentials = await sdk.create_credentials(APP, "scope", "https://login.microsoftonline.com/x", False)
        credentials.signed_session()
    assert made == ["MainThread"] * 3

    made.clear()
    monkeypatch.setattr(msal, "ConfidentialClientApplication", CountedClient)
    async with a_bot() as bot:
        for _ in range(3):
            await bot.credentials.token()
    assert made == ["bot-token_0"]


async def test_many_waiting_callers_cause_one_request() -> None:
    async with a_bot() as bot:
        tokens = await asyncio.gather(*(bot.credentials.token() for _ in range(20)))

    assert set(tokens) == {"token-1"}
    assert len(bot.entra.asked) == 1


async def test_shortly_before_it_expires_the_old_token_is_used_while_it_is_renewed() -> None:
    async with a_bot() as bot:
        bot.entra.expires_in = 200
        await bot.credentials.token()
        bot.entra.hold = asyncio.Event()

        bot.clock[0] = 110
        async with asyncio.timeout(1):
            assert await bot.credentials.token() == "token-1"
        await bot.until_asked(2)
        bot.entra.hold.set()
        await until_it_is(bot.credentials.token, "token-2")


async def test_an_expired_token_is_not_used() -> None:
    async with a_bot() as bot:
        bot.entra.expires_in = 200
        await bot.credentials.token()
        bot.clock[0] = 175

        assert await bot.credentials.token() == "token-2"


async def test_a_renewal_that_fails_leaves_the_old_token_in_use(caplog: pytest.LogCaptureFixture) -> None:
    async with a_bot() as bot:
        bot.entra.expires_in = 200
        await bot.credentials.token()
        bot.entra.answer = (500, {"error": "server_error"})

        bot.clock[0] = 110
        for _ in range(5):
            assert await bot.credentials.token() == "token-1"
            await asyncio.sleep(0.05)

    assert caplog.text.count("could not be renewed in time") == 1


async def test_a_token_that_was_refused_is_not_used_again() -> None:
    async with a_bot() as bot:
        first = await bot.credentials.token()
        assert first is not None
        bot.credentials.forget("another")
        assert await bot.credentials.token() == first
        bot.credentials.forget(first)

        assert await bot.credentials.token() == "token-2"


async def test_a_wrong_secret_and_an_unreachable_service_raise_different_errors() -> None:
    async with a_bot(secret="wrong-secret") as bot:
        with pytest.raises(TokenRefusedError) as refused:
            await bot.credentials.token()
    assert str(refused.value) == "Microsoft Entra issued no token for the bot (invalid_client AADSTS7000215)"
    assert "wrong-secret" not in repr(refused.value)

    def nobody_answers() -> requests.Session:
        return requests.Session()

    credentials = AppCredentials(
        BotIdentity(APP, "UserAssignedMSI", TENANT), http_client=nobody_answers, time_limit_seconds=5
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:9/")
        patch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        with pytest.raises(TokenUnreachableError):
            await credentials.token()
    await credentials.close()


async def test_a_service_that_does_not_answer_costs_no_more_than_the_time_limit() -> None:
    async with a_bot(time_limit_seconds=0.2) as bot:
        bot.entra.hold = asyncio.Event()
        started = time.perf_counter()
        with pytest.raises(TokenUnreachableError, match="did not answer in time"):
            await bot.credentials.token()

        assert time.perf_counter() - started < 8
        bot.entra.hold.set()


async def test_an_error_of_the_service_counts_as_temporary() -> None:
    async with a_bot() as bot:
        bot.entra.answer = (503, {})
        with pytest.raises(TokenUnreachableError):
            await bot.credentials.token()


@pytest.mark.parametrize("answer", [{}, {"access_token": 5}, {"access_token": "x"}, {"error": 5}, {"error": "x" * 99}])
async def test_a_response_without_a_token_raises_a_token_error(answer: dict[str, object]) -> None:
    async with a_bot() as bot:
        bot.entra.answer = (200, answer)
        with pytest.raises(TokenError):
            await bot.credentials.token()


async def test_a_cancelled_caller_does_not_cancel_the_renewal_for_others() -> None:
    async with a_bot() as bot:
        impatient, patient = (asyncio.create_task(bot.credentials.token()) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()

        assert await patient == "token-1"


async def test_msal_works_in_a_thread_of_its_own() -> None:
    """The SDK asks on the event loop, for every turn anew."""
    threads: list[str] = []

    async with Entra() as entra:

        def http_client() -> requests.Session:
            threads.append(threading.current_thread().name)
            return entra.http_client()

        credentials = AppCredentials(
            BotIdentity(APP, "SingleTenant", TENANT, SecretStr(SECRET)), http_client=http_client
        )
        await credentials.token()
        await credentials.close()

    assert threads == ["bot-token_0"]


def test_msal_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys, app.bot.auth.app_credentials; sys.exit(any(name in sys.modules for name in ('msal', 'requests')))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def until_it_is(get: Callable[[], Awaitable[object]], expected: object) -> None:
    async with asyncio.timeout(5):
        while await get() != expected:  # noqa: ASYNC110 - renewed by a task of the code under test
            await asyncio.sleep(0.005)
