"""Files that the bot sends in Teams: it asks with a consent card, and stores the file where Teams says after that.

https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bots-filesv4
"""

from __future__ import annotations

import logging
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from botbuilder.core import InvokeResponse
from botbuilder.schema import Activity
from pydantic import ValidationError

from app.bot.connector.connector_client import ConnectorClient
from app.bot.connector.send_errors import SendError
from app.bot.inbound.activity import locale_of
from app.bot.inbound.conversation_key import conversation_of
from app.bot.inbound.inbound_question import InboundQuestion, parse_inbound_question
from app.bot.invoke_responses import error_response
from app.bot.rendering import activities
from app.bot.sdk.channel_adapter import ChannelAdapter
from app.common.http_session import HttpSession
from app.common.identity import APP_IDENTITY
from app.messaging.actions import ActionAnswer, CardAction
from app.messaging.result_files import FILE_RESULT, FILE_VERB, NoResultFileError, ResultFiles
from app.storage.conversations import ConversationKey
from app.storage.queue import Queue
from app.storage.storage_errors import StorageError
from app.telemetry.spans import new_error_id
from app.telemetry.turn_span import turn_failed
from app.translation import Sentence, Translator, translator_for
from app.turns.idempotency import IdempotentAction, IdempotentActions, digest

if TYPE_CHECKING:
    from app.bot.file_consent_messages import ConsentMessage, Upload

_log = logging.getLogger(__name__)

CONSENT_KIND: Final = "file_consent"

_PREPARING = Sentence("I am preparing the file.")
_ONE_TO_ONE = Sentence("I can send files in one-to-one chats alone. Please ask me there.")
_NOT_STORED = Sentence("The file could not be stored in OneDrive. Please try again.")

Json = dict[str, Any]


class FileConsents:
    """An `app.messaging.actions.ActionHandler` for the button, and the handler of what the person decides on the card.

    `allows_loopback`: files may be stored on this machine, as a bot without an app id does.
    """

    def __init__(
        self,
        files: ResultFiles,
        adapter: ChannelAdapter,
        connector: ConnectorClient,
        session: HttpSession,
        actions: IdempotentActions,
        queue: Queue,
        *,
        allows_loopback: bool = False,
    ) -> None:
        self._files = files
        self._adapter = adapter
        self._connector = connector
        self._session = session
        self._actions = actions
        self._queue = queue
        self._allows_loopback = allows_loopback

    @property
    def verb(self) -> str:
        return FILE_VERB

    async def accept(self, action: CardAction) -> ActionAnswer:
        translate = translator_for(action.locale)
        if not parse_inbound_question(action.payload).channel.takes_files:
            return ActionAnswer(translate(_ONE_TO_ONE), is_accepted=False)
        return ActionAnswer(translate(_PREPARING))

    async def run(self, action: CardAction) -> None:
        """Asks the person whether the file may be stored in their OneDrive."""
        from app.bot.file_consent_messages import consent_message  # noqa: PLC0415 - no first answer needs it

        translate, question = translator_for(action.locale), parse_inbound_question(action.payload)
        result = action.data.get(FILE_RESULT, "")
        try:
            file = await self._files.make(action.conversation, result, APP_IDENTITY)
            message = consent_message(file, result, translate)
        except NoResultFileError as error:
            message = activities.message(translate(error.sentence))
        await self._post(question, message)

    async def receive(self, activity: Activity) -> InvokeResponse:
        """The invoke `fileConsent/invoke`: answered at once, done from the queue."""
        from app.bot.file_consent_messages import Consent, ConsentMessage  # noqa: PLC0415

        try:
            consent = Consent.model_validate(activity.value)
        except ValidationError:
            return error_response(HTTPStatus.BAD_REQUEST, "BadRequest", "no decision on a file of this bot")
        conversation = conversation_of(activity)
        message = ConsentMessage(
            v=1,
            tenant=conversation.tenant,
            conversation=conversation.conversation,
            thread=conversation.thread,
            card=activity.reply_to_id or "",
            locale=locale_of(activity),
            payload=InboundQuestion.of(activity).without_message.model_dump_json(),
            value=consent.model_dump_json(by_alias=True),
        )
        try:
            await self._queue.put(message.to_json(), visibility_timeout=0.0)
        except (StorageError, ValueError) as failure:
            _log.warning("A decision on a file was not accepted (%s)", type(failure).__name__)
            return error_response(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", "please try again")
        return InvokeResponse(status=HTTPStatus.OK, body={})

    async def handle(self, body: bytes) -> None:
        """Handles queue messages of the kind `file_consent`."""
        from app.bot.file_consent_messages import Consent, ConsentMessage  # noqa: PLC0415

        message = ConsentMessage.from_json(body)
        consent = Consent.model_validate_json(message.value)
        question = parse_inbound_question(message.payload)
        if consent.action == "accept" and consent.upload is not None:
            conversation = ConversationKey(message.tenant, message.conversation, message.thread)
            translate = translator_for(message.locale)
            if not await self._accepted(message, consent.context.result, consent.upload, conversation, translate):
                return
        if message.card:
            target = question.reply_target
            with suppress(SendError):
                await self._connector.delete(target.service_url, target.conversation, message.card)

    async def _accepted(
        self,
        message: ConsentMessage,
        result: str,
        upload: Upload,
        conversation: ConversationKey,
        translate: Translator,
    ) -> bool:
        """Whether the card is done with: after a failure it can be pressed again."""
        from app.bot.file_consent_messages import info_message  # noqa: PLC0415
        from app.bot.file_upload import FileUploadError, upload_file  # noqa: PLC0415

        async def store() -> Json:
            file = await self._files.make(conversation, result, APP_IDENTITY)
            await upload_file(self._session, file.content, upload.upload_url, allows_loopback=self._allows_loopback)
            return {}

        asked = digest([conversation.conversation, message.card or upload.unique_id or upload.upload_url])
        question = parse_inbound_question(message.payload)
        try:
            await self._actions.once(IdempotentAction(conversation.tenant, f"file/{asked}"), store)
        except NoResultFileError as error:
            await self._post(question, activities.message(translate(error.sentence)))
            return True
        except (FileUploadError, TimeoutError) as error:
            turn_failed(error)
            error_id = new_error_id()
            _log.error("A file could not be stored, error id %s: %s", error_id, error)
            sentence = activities.failure_note(translate(_NOT_STORED), error_id, translate)
            await self._post(question, activities.message(sentence))
            return False
        await self._post(question, info_message(upload))
        return True

    async def _post(self, question: InboundQuestion, message: Json) -> None:
        try:
            await self._adapter.sender_to(question.reply_target).post(message)
        except SendError as failure:
            turn_failed(failure)
            _log.exception("A message about a file could not be delivered, error id %s", new_error_id())
