"""The bot's authentication with a login service and a clock of its own, as a caller meets it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from botbuilder.schema import Activity
from pydantic import SecretStr

from app.access_tokens.access_token import AuthenticationUnavailableError, Claims, UnauthenticatedError
from app.bot.auth.authentication import Authenticator
from app.bot.auth.bot_identity import BotIdentity, addresses_of
from app.bot.inbound.activity import parse_activity
from app.common.http_session import HttpSession
from app.settings.bot_settings import BotAppType, BotCloud
from tests.fakes.bot_framework_login import BotFrameworkLogin

APP = "c9e8c047-2a34-40a1-b28a-b162d5f5327c"
TENANT = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"
OTHER_TENANT = "11111111-2222-3333-4444-555555555555"
SERVICE_URL = "https://smba.trafficmanager.net/emea/"
NOW = 1_800_000_000.0


async def received(
    authenticator: Authenticator, activity: Activity, headers: Mapping[str, str], address: str | None = None
) -> Claims:
    """As `app.bot.inbound.messages_endpoint` does it."""
    principal = await authenticator.authenticate(headers, address)
    authenticator.authorize(principal, activity)
    return principal.claims


@dataclass
class AuthSetup:
    """What a caller of the bot meets, with a login service and a clock of its own."""

    login: BotFrameworkLogin
    sign_in: BotFrameworkLogin
    authenticator: Authenticator
    cloud: BotCloud
    clock: list[float] = field(default_factory=list)

    def claims(self, **changes: Any) -> dict[str, Any]:
        issuer = addresses_of(self.cloud).channel_issuer
        claims = {"iss": issuer, "aud": APP, "serviceurl": SERVICE_URL, "nbf": NOW - 60, "exp": NOW + 3600}
        return {name: value for name, value in {**claims, **changes}.items() if value is not None}

    def own_claims(self, **changes: Any) -> dict[str, Any]:
        issuer = "https://sts.windows.net/d6d49420-f39b-4df7-a1dc-d59a935871db/"
        return self.claims(**({"iss": issuer, "ver": "1.0", "appid": APP, "serviceurl": None} | changes))

    async def receives(self, token: str | None, activity: Activity | None = None) -> Claims:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return await received(self.authenticator, activity or an_activity(), headers)

    async def refuses(self, token: str | None, activity: Activity | None = None) -> str:
        with pytest.raises(UnauthenticatedError) as caught:
            await self.receives(token, activity)
        if token:
            assert token not in str(caught.value)
        return caught.value.reason

    async def is_unavailable_for(self, token: str) -> None:
        with pytest.raises(AuthenticationUnavailableError, match="the signing keys could not be fetched"):
            await self.receives(token)


@asynccontextmanager
async def an_authenticator(
    app_type: BotAppType = "SingleTenant", cloud: BotCloud = "public", *, accepts_emulator: bool = True
) -> AsyncIterator[AuthSetup]:
    tenant = None if app_type == "MultiTenant" else TENANT
    channels = frozenset({"msteams", "webchat"})
    identity = BotIdentity(APP, app_type, tenant, SecretStr("s3cret"), cloud, channels, accepts_emulator)
    session, clock = HttpSession(), [0.0]
    async with BotFrameworkLogin() as login, BotFrameworkLogin() as sign_in:
        authenticator = Authenticator(
            identity,
            session,
            channel_metadata_url=login.metadata_url,
            login_metadata_url=sign_in.metadata_url,
            now=lambda: NOW,
            clock=lambda: clock[0],
        )
        yield AuthSetup(login, sign_in, authenticator, cloud, clock)
        await authenticator.close()
        await session.close()


def an_activity(*, tenant: str | None = TENANT, **changes: Any) -> Activity:
    fields: dict[str, Any] = {"type": "message", "channelId": "msteams", "serviceUrl": SERVICE_URL}
    if tenant:
        fields |= {"channelData": {"tenant": {"id": tenant}}, "conversation": {"id": "a:1", "tenantId": tenant}}
    fields |= changes
    return parse_activity(json.dumps({name: value for name, value in fields.items() if value is not None}).encode())
