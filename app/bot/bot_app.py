"""The bot, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.bot.auth.app_credentials import AppCredentials
from app.bot.auth.authentication import Authenticator
from app.bot.auth.bot_identity import BotIdentity
from app.bot.auth.service_url import ServiceUrls
from app.bot.card_actions import ACTION_KIND, CardActions
from app.bot.channel import DEFAULT_DISPLAY, DisplaySettings
from app.bot.connector.connector_client import ConnectorClient
from app.bot.feedback import Feedback, TakeBackAction
from app.bot.file_consent import CONSENT_KIND, FileConsents
from app.bot.handler import AgentHandler, BotServices, ConversationMemory
from app.bot.inbound.messages_endpoint import ACKNOWLEDGE_AFTER_SECONDS, MessagesEndpoint
from app.bot.message_deletions import MessageDeletions
from app.bot.proactive_messages import PROACTIVE_KIND, ProactiveMessages
from app.bot.resume import TurnMessageHandler
from app.bot.sdk.channel_adapter import ChannelAdapter
from app.bot.turn_actions import AskAction, CallAction
from app.common.http_session import HttpSession
from app.messaging.actions import ActionHandler
from app.messaging.conversation_references import ConversationReferences
from app.messaging.result_files import ResultFiles
from app.storage.documents import DocumentStore
from app.storage.queue import Queue
from app.telemetry.telemetry import Telemetry
from app.turns.answer_removal import DELETION_KIND
from app.turns.approvals import ApprovalHandler
from app.turns.idempotency import IdempotentActions
from app.turns.queue_dispatcher import QueueDispatcher
from app.turns.queue_message import TURN_KIND
from app.turns.rating_queue import RATING_KIND, RatingQueue
from app.turns.runner import TurnRunner

if TYPE_CHECKING:
    from app.feedback.ratings import Ratings


@dataclass(frozen=True, slots=True)
class BotApp:
    """The bot's ways in (activities over HTTP, turns from the queue), and what they are built on."""

    messages: MessagesEndpoint
    queue: QueueDispatcher
    adapter: ChannelAdapter
    connector: ConnectorClient
    proactive: ProactiveMessages
    actions: IdempotentActions
    authenticator: Authenticator
    credentials: AppCredentials
    session: HttpSession

    async def close(self) -> None:
        async with AsyncExitStack() as closing:
            # Closed in reverse, each even where another fails.
            for part in (self.session, self.credentials, self.authenticator, self.actions):
                closing.push_async_callback(part.close)
            await asyncio.gather(self.messages.close(), self.queue.close())


def build_bot(
    identity: BotIdentity,
    runner: TurnRunner,
    memory: ConversationMemory,
    documents: DocumentStore,
    references: ConversationReferences,
    telemetry: Telemetry,
    *,
    work_queue: Queue,
    dispatcher: QueueDispatcher | None = None,
    action_handlers: Sequence[ActionHandler] = (),
    result_files: ResultFiles | None = None,
    ratings: Callable[[], Ratings] | None = None,
    display: DisplaySettings = DEFAULT_DISPLAY,
    acknowledge_after_seconds: float = ACKNOWLEDGE_AFTER_SECONDS,
    channel_metadata_url: str | None = None,
    login_metadata_url: str | None = None,
) -> BotApp:
    """Registers its handlers with `dispatcher`, which gets the messages of `work_queue`. `action_handlers` are for
    buttons of cards, beside the bot's own; `result_files` makes the files that people ask for, `ratings` keeps what
    they think of answers, and is called when the first rating comes. The metadata URLs are the Bot Framework's own
    unless given.
    """
    session = HttpSession()
    credentials = AppCredentials(identity)
    authenticator = Authenticator(
        identity, session, channel_metadata_url=channel_metadata_url, login_metadata_url=login_metadata_url
    )
    connector = ConnectorClient(session, credentials, ServiceUrls(identity))
    adapter = ChannelAdapter(identity, authenticator, connector, credentials)
    actions = IdempotentActions(documents)
    own_handlers: list[ActionHandler] = [
        AskAction(adapter, runner, display),
        CallAction(adapter, runner, display),
        ApprovalHandler(runner, approves=True),
        ApprovalHandler(runner, approves=False),
    ]
    dispatcher = dispatcher or QueueDispatcher(telemetry)
    file_consents = None
    if result_files is not None:
        local = not identity.app_id
        file_consents = FileConsents(
            result_files, adapter, connector, session, actions, work_queue, allows_loopback=local
        )
        own_handlers.append(file_consents)
        dispatcher.register(CONSENT_KIND, file_consents.handle)
    proactive = ProactiveMessages(adapter, references, actions, work_queue)
    feedback = None
    if ratings is not None:
        rating_queue = RatingQueue(ratings, work_queue)
        feedback = Feedback(ratings, actions, rating_queue, proactive)
        own_handlers.append(TakeBackAction(feedback))
        dispatcher.register(RATING_KIND, rating_queue.deliver)
    card_actions = CardActions([*own_handlers, *action_handlers], actions, work_queue)
    services = BotServices(
        runner, adapter.sender, memory, actions, card_actions, references, display, file_consents, feedback
    )
    dispatcher.register(ACTION_KIND, card_actions.run)
    dispatcher.register(PROACTIVE_KIND, proactive.deliver)
    dispatcher.register(DELETION_KIND, MessageDeletions(connector, references).delete)
    dispatcher.register(TURN_KIND, TurnMessageHandler(adapter, runner, references, display).handle)
    return BotApp(
        messages=MessagesEndpoint(
            adapter,
            lambda activity: AgentHandler(services, activity),
            telemetry,
            acknowledge_after_seconds=acknowledge_after_seconds,
        ),
        queue=dispatcher,
        adapter=adapter,
        connector=connector,
        proactive=proactive,
        actions=actions,
        authenticator=authenticator,
        credentials=credentials,
        session=session,
    )
