"""The bot, put together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from app.bot.auth.app_credentials import AppCredentials
from app.bot.auth.authentication import Authenticator
from app.bot.auth.bot_identity import BotIdentity
from app.bot.auth.service_url import ServiceUrls
from app.bot.connector.connector_client import Connector
from app.bot.handler import AgentHandler, BotServices
from app.bot.inbound.messages_endpoint import ACKNOWLEDGE_AFTER_SECONDS, MessagesEndpoint
from app.bot.resume import TurnMessageHandler
from app.bot.sdk.channel_adapter import ChannelAdapter
from app.common.http_session import HttpSession
from app.messaging.references import ConversationReferences
from app.storage.documents import DocumentStore
from app.storage.ledger import ConversationStore
from app.telemetry.telemetry import Telemetry
from app.turns.idempotency import IdempotentActions
from app.turns.queue_dispatcher import QueueDispatcher
from app.turns.queue_message import TURN_KIND
from app.turns.runner import TurnRunner


@dataclass(frozen=True, slots=True)
class BotApp:
    """The bot's ways in (activities over HTTP, turns from the queue), and what they are built on."""

    messages: MessagesEndpoint
    queue: QueueDispatcher
    adapter: ChannelAdapter
    connector: Connector
    actions: IdempotentActions
    authenticator: Authenticator
    credentials: AppCredentials
    session: HttpSession

    async def close(self) -> None:
        await asyncio.gather(self.messages.close(), self.queue.close())
        await self.actions.close()
        await self.authenticator.close()
        await self.credentials.close()
        await self.session.close()


def build_bot(
    identity: BotIdentity,
    runner: TurnRunner,
    store: ConversationStore,
    documents: DocumentStore,
    references: ConversationReferences,
    telemetry: Telemetry,
    *,
    queue: QueueDispatcher | None = None,
    image_hosts: frozenset[str] = frozenset(),
    acknowledge_after: float = ACKNOWLEDGE_AFTER_SECONDS,
    channel_metadata_url: str | None = None,
    login_metadata_url: str | None = None,
) -> BotApp:
    """Registers its handlers with `queue`. `acknowledge_after` in seconds; the metadata URLs are the Bot Framework's
    own unless given.
    """
    session = HttpSession()
    credentials = AppCredentials(identity)
    authenticator = Authenticator(
        identity, session, channel_metadata_url=channel_metadata_url, login_metadata_url=login_metadata_url
    )
    connector = Connector(session, credentials, ServiceUrls(identity))
    adapter = ChannelAdapter(identity, authenticator, connector, credentials)
    actions = IdempotentActions(documents)
    services = BotServices(runner, adapter.sender, store, actions, references, image_hosts)
    queue = queue or QueueDispatcher(telemetry)
    queue.register(TURN_KIND, TurnMessageHandler(adapter, runner, image_hosts).handle)
    return BotApp(
        messages=MessagesEndpoint(
            adapter,
            lambda activity: AgentHandler(services, activity),
            telemetry,
            acknowledge_after=acknowledge_after,
        ),
        queue=queue,
        adapter=adapter,
        connector=connector,
        actions=actions,
        authenticator=authenticator,
        credentials=credentials,
        session=session,
    )
