"""A bot behind our adapter, and one behind the plain SDK, with a channel's connector service."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from botbuilder.core import TurnContext
from botbuilder.integration.aiohttp import CloudAdapter, ConfigurationBotFrameworkAuthentication
from botbuilder.schema import Activity

from app.bot.auth.authentication import Authenticator
from app.bot.auth.bot_identity import BotIdentity
from app.bot.auth.service_url import ServiceUrls
from app.bot.connector.connector_client import ConnectorClient
from app.bot.inbound.activity import parse_activity
from app.bot.sdk.channel_adapter import ChannelAdapter
from app.bot.sdk.sdk_entities import serialise
from app.common.http_session import HttpSession
from tests.fakes.connector_service import ConnectorService

APP = "c9e8c047-2a34-40a1-b28a-b162d5f5327c"
TENANT = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"
SERVICE_URL = "https://smba.trafficmanager.net/emea/"
LOCAL = {"host": "localhost:7071"}
STREAM_INFO = {"type": "streaminfo", "streamType": "streaming", "streamSequence": 2, "streamId": "a-0000l"}


class Tokens:
    def __init__(self) -> None:
        self.asked = 0

    async def token(self) -> str | None:
        self.asked += 1
        return "bot-token"

    def forget(self, token: str) -> None:
        return None


Logic = Callable[[TurnContext], Awaitable[None]]


@dataclass
class Bot:
    adapter: ChannelAdapter
    service: ConnectorService
    tokens: Tokens

    def activity(self, **fields: Any) -> Activity:
        content = {
            "type": "message",
            "id": "in-1",
            "channelId": "msteams",
            "serviceUrl": self.service.service_url,
            "from": {"id": "29:1x", "name": "Adele"},
            "recipient": {"id": "28:bot", "name": "Databricks"},
            "conversation": {"id": "a:1y", "conversationType": "personal", "tenantId": TENANT},
            "locale": "en-US",
            "text": "Hello",
        }
        return parse_activity(json.dumps(content | fields).encode())

    async def turn(self, logic: Logic, **fields: Any) -> Any:
        activity = self.activity(**fields)
        authorized = self.adapter.authorize(await self.adapter.authenticate(LOCAL, "127.0.0.1"), activity)
        return await self.adapter.process_activity(authorized, activity, logic)


@asynccontextmanager
async def a_bot() -> AsyncIterator[Bot]:
    session, tokens, identity = HttpSession(), Tokens(), BotIdentity()
    async with ConnectorService() as service:
        authenticator = Authenticator(identity, session)
        adapter = ChannelAdapter(
            identity, authenticator, ConnectorClient(session, tokens, ServiceUrls(identity)), tokens
        )
        yield Bot(adapter, service, tokens)
        await authenticator.close()
        await session.close()


class NoApp:
    APP_ID = ""
    APP_PASSWORD = ""


@asynccontextmanager
async def the_plain_sdk(logic: Logic) -> AsyncIterator[Callable[[Activity], Awaitable[int]]]:
    """A bot as the samples have it; gives the HTTP status of an answer."""
    adapter = CloudAdapter(ConfigurationBotFrameworkAuthentication(NoApp()))

    class PlainBot:
        async def on_turn(self, context: TurnContext) -> None:
            await logic(context)

    async def messages(request: web.Request) -> web.StreamResponse:
        return await adapter.process(request, PlainBot()) or web.Response()  # type: ignore[arg-type]

    app = web.Application()
    app.add_routes([web.post("/", messages)])
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:

        async def post(activity: Activity) -> int:
            async with client.post("/", json=serialise(activity)) as response:
                return response.status

        yield post
