"""What the plain SDK's authentication lets pass, or fails at, and ours does not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from botbuilder.core import TurnContext
from botbuilder.integration.aiohttp import ConfigurationBotFrameworkAuthentication
from botbuilder.schema import Activity
from botframework.connector.auth import (
    AuthenticationConfiguration,
    BotFrameworkAuthenticationFactory,
    PasswordServiceClientCredentialFactory,
)

from app.access_tokens.access_token import UnauthenticatedError
from app.bot.auth.authentication import Authenticator
from app.bot.auth.bot_identity import BotIdentity
from app.bot.inbound.activity import parse_activity
from app.common.http_session import HttpSession
from tests.fakes.adapter_bot import APP, SERVICE_URL, TENANT, Bot, a_bot
from tests.fakes.auth_setup import received
from tests.fakes.bot_framework_login import BotFrameworkLogin


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    async with a_bot() as made:
        yield made


HEADERS = {
    "none": None,
    "no token": "",
    "garbage": "Bearer garbage",
    "no issuer": f"Bearer {jwt.encode({'aud': APP}, 'a secret that is long enough for HS256', algorithm='HS256')}",
}


class WithApp:
    APP_ID = APP
    APP_PASSWORD = "s3cret"
    APP_TYPE = "SingleTenant"
    APP_TENANTID = TENANT


async def test_the_sdk_fails_to_authenticate_in_many_ways_and_we_in_one(bot: Bot) -> None:
    sdk = ConfigurationBotFrameworkAuthentication(WithApp())
    session = HttpSession()
    ours = Authenticator(BotIdentity(APP, "MultiTenant"), session)
    activity = bot.activity(serviceUrl=SERVICE_URL)
    kinds = set()
    for header in HEADERS.values():
        with pytest.raises(Exception) as caught:  # noqa: PT011 - its type is what is shown
            await sdk.authenticate_request(activity, header)  # type: ignore[arg-type]
        kinds.add(type(caught.value))
        with pytest.raises(UnauthenticatedError):
            await ours.authenticate({} if header is None else {"Authorization": header})

    assert len(kinds) > 2
    assert issubclass(UnauthenticatedError, PermissionError)


def sdk_authentication(metadata_url: str) -> Any:
    factory: Any = BotFrameworkAuthenticationFactory
    return factory.create(
        validate_authority=False,
        to_channel_from_bot_login_url="https://login.microsoftonline.com/botframework.com",
        to_channel_from_bot_oauth_scope="https://api.botframework.com",
        to_bot_from_channel_token_issuer="https://api.botframework.com",
        oauth_url="https://api.botframework.com",
        to_bot_from_channel_open_id_metadata_url=metadata_url,
        to_bot_from_emulator_open_id_metadata_url=metadata_url,
        caller_id="urn:botframework:azure",
        credential_factory=PasswordServiceClientCredentialFactory(APP, "s3cret"),
        auth_configuration=AuthenticationConfiguration(),
        http_client_factory=None,
    )


@dataclass
class BothAuthenticators:
    """The SDK's authentication and ours, at the same login service."""

    login: BotFrameworkLogin
    ours: Authenticator
    clock: list[float]

    def header(self) -> str:
        claims = {"iss": "https://api.botframework.com", "aud": APP, "serviceurl": SERVICE_URL}
        return f"Bearer {self.login.token(claims | {'exp': time.time() + 3600, 'nbf': time.time() - 60})}"

    async def the_sdk_receives(self, activity: Activity) -> str:
        """`accepted`, or the name of what it raises. In a thread: it fetches keys with a blocking call."""
        header, url = self.header(), self.login.metadata_url

        def try_it() -> str:
            try:
                asyncio.run(sdk_authentication(url).authenticate_request(activity, header))
            except Exception as error:
                return type(error).__name__
            return "accepted"

        return await asyncio.to_thread(try_it)

    async def we_receive(self, activity: Activity) -> str:
        try:
            await received(self.ours, activity, {"authorization": self.header()})
        except UnauthenticatedError:
            return "UnauthenticatedError"
        return "accepted"


@pytest.fixture
async def both() -> AsyncIterator[BothAuthenticators]:
    session, clock = HttpSession(), [0.0]
    async with BotFrameworkLogin() as login:
        identity = BotIdentity(APP, "SingleTenant", TENANT)
        ours = Authenticator(identity, session, channel_metadata_url=login.metadata_url, clock=lambda: clock[0])
        yield BothAuthenticators(login, ours, clock)
        await ours.close()
        await session.close()


def from_teams(**fields: Any) -> Activity:
    content = {"type": "message", "channelId": "msteams", "serviceUrl": SERVICE_URL} | fields
    content.setdefault("channelData", {"tenant": {"id": TENANT}})
    return parse_activity(json.dumps({name: value for name, value in content.items() if value is not None}).encode())


@pytest.mark.parametrize(
    "fields",
    [
        {"serviceUrl": None},
        {"channelId": None},
        {"channelData": {"tenant": {"id": "11111111-2222-3333-4444-555555555555"}}},
    ],
    ids=["no serviceUrl", "no channelId", "another tenant"],
)
async def test_the_checks_that_the_sdk_leaves_out_are_made(both: BothAuthenticators, fields: dict[str, Any]) -> None:
    assert await both.the_sdk_receives(from_teams(**fields)) == "accepted"
    assert await both.we_receive(from_teams(**fields)) == "UnauthenticatedError"
    assert await both.we_receive(from_teams()) == "accepted"


async def test_the_sdk_cannot_follow_a_rotated_key_and_we_can(both: BothAuthenticators) -> None:
    assert await both.the_sdk_receives(from_teams()) == "accepted"
    assert await both.we_receive(from_teams()) == "accepted"
    both.login.rotate()
    both.clock[0] += 3600

    assert await both.the_sdk_receives(from_teams()) == "IndexError"
    assert await both.we_receive(from_teams()) == "accepted"


async def test_fetching_keys_does_not_block_the_event_loop(both: BothAuthenticators) -> None:
    """The login service answers in this very event loop: a blocking call would never come back."""
    assert await both.we_receive(from_teams()) == "accepted"


async def test_neither_web_sockets_nor_skills_are_let_in(bot: Bot) -> None:
    sdk = bot.adapter.bot_framework_authentication
    for attempt in (sdk.authenticate_streaming_request("", "msteams"), sdk.authenticate_channel_request("")):
        with pytest.raises(UnauthenticatedError):
            await attempt


async def test_the_sdks_own_entry_point_refuses_calls_without_an_address(bot: Bot) -> None:
    turns: list[TurnContext] = []

    async def logic(context: TurnContext) -> None:
        turns.append(context)

    with pytest.raises(UnauthenticatedError):
        await bot.adapter.process_activity("", bot.activity(), logic)
    assert turns == []
