"""The Bot Framework door, put together."""

from __future__ import annotations

import asyncio

from app.bot.auth.app_credentials import AppCredentials
from app.bot.auth.authentication import Authenticator
from app.bot.auth.bot_identity import BotIdentity
from app.bot.auth.service_url import ServiceUrls
from app.bot.connector.connector_client import Connector
from app.bot.connector.http_session import HttpSession
from app.bot.handler import AgentBot
from app.bot.inbound.messages_endpoint import ACKNOWLEDGE_AFTER, MessagesEndpoint
from app.bot.resume import TurnQueueHandler
from app.bot.sdk.channel_adapter import Adapter
from app.storage.ledger import Store
from app.telemetry.telemetry import Telemetry
from app.turns.runner import TurnRunner


class BotApp:
    """`channel_metadata_url` and `login_metadata_url` are the Bot Framework's own unless a test brings another."""

    def __init__(
        self,
        identity: BotIdentity,
        turns: TurnRunner,
        memory: Store,
        telemetry: Telemetry,
        *,
        image_hosts: frozenset[str] = frozenset(),
        acknowledge_after: float = ACKNOWLEDGE_AFTER,
        channel_metadata_url: str | None = None,
        login_metadata_url: str | None = None,
    ) -> None:
        self._session = HttpSession()
        self._tokens = AppCredentials(identity)
        self._authenticator = Authenticator(
            identity, self._session, channel_metadata_url=channel_metadata_url, login_metadata_url=login_metadata_url
        )
        connector = Connector(self._session, self._tokens, ServiceUrls(identity))
        adapter = Adapter(identity, self._authenticator, connector, self._tokens)
        self._bot = bot = AgentBot(turns, adapter.sender, memory, image_hosts)
        self.unfinished = TurnQueueHandler(adapter, turns, telemetry, image_hosts)
        self.messages = MessagesEndpoint(adapter, bot.on_turn, telemetry, acknowledge_after=acknowledge_after)

    async def close(self) -> None:
        await asyncio.gather(self.messages.close(), self.unfinished.close())
        await self._bot.close()
        await self._authenticator.close()
        await self._tokens.close()
        await self._session.close()
