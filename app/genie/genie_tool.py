"""One question to one Genie space: asked once, followed to its end, and shown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from pydantic import Field

from app.common.identity import APP_IDENTITY, identity_key
from app.content.blocks import Action, Actions, Block, Folded, Link, Text
from app.content.feedback_target import FeedbackTarget, GenieTarget
from app.data.present import for_model, present
from app.data.result_set import ResultSet
from app.data.stored_results import StoredResult, StoredResults, stored_now
from app.databricks.genie_api import GenieApi
from app.databricks.statement_chunks import NextChunk
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceInterruptedError,
    WorkspaceNotFoundError,
    WorkspacePermissionError,
    WorkspaceRateLimitError,
    WorkspaceUnavailableError,
)
from app.genie.genie_conversations import GenieConversation, GenieConversations
from app.genie.genie_message import GenieMessage, GenieQuery, parse_message
from app.genie.genie_results import GenieResults, QueryFailedError, QueryIds
from app.genie.genie_sentences import CANCELLED, NO_ACCESS, NO_SPACE, PROGRESS, THROTTLED, failure_sentence
from app.messaging.actions import ask_button
from app.storage.storage_errors import StorageError
from app.tools.base import ToolArguments, ToolContext, ToolError, ToolOutput
from app.translation import Sentence

_log = logging.getLogger(__name__)

# Genie asks for one look in one to five seconds.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0
_MAX_FAILED_LOOKS = 5
_MAX_QUESTION = 2_000
_HOW = Sentence("How I got there")
_SOURCE = Sentence("Powered by Genie: open in Databricks")


class GenieArguments(ToolArguments):
    question: str = Field(
        max_length=_MAX_QUESTION,
        description="the question in plain words and the person's language, whole and with all that it refers to",
    )


@dataclass(frozen=True, slots=True)
class GenieServices:
    api: GenieApi
    conversations: GenieConversations
    results: StoredResults
    workspace_url: str
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep


class GenieQuestion:
    """One call of the tool. Stop cancels the query at the warehouse: to stop looking would let it run on."""

    def __init__(self, services: GenieServices, space: str, context: ToolContext) -> None:
        self._services = services
        self._api = services.api
        self._space = space
        self._context = context
        self._statement = ""

    async def answer(self, arguments: GenieArguments) -> ToolOutput:
        try:
            message = await self._ended(await self._asked(arguments.question))
            return await self._output(message)
        except asyncio.CancelledError:
            # Another worker may look at the same message.
            if not self._context.cancellation.goes_on_elsewhere:
                await self._cancel_statement()
            raise
        except WorkspaceRateLimitError as error:
            raise ToolError(self._context.translate(THROTTLED)) from error
        except WorkspacePermissionError as error:
            raise ToolError(self._context.translate(NO_ACCESS)) from error
        except WorkspaceNotFoundError as error:
            raise ToolError(self._context.translate(NO_SPACE)) from error
        except ValueError as error:
            raise ToolError(self._context.translate(failure_sentence(""))) from error

    async def _asked(self, question: str) -> GenieMessage:
        """The message of this call: the one that an earlier attempt asked, if there was one."""
        context, kept = self._context, await self._kept()
        if kept is not None and kept.call == context.idempotency_key:
            return GenieMessage(kept.conversation_id, kept.message_id, "SUBMITTED")
        message: GenieMessage | None = None
        if kept is not None:
            with suppress(WorkspaceNotFoundError):
                told = await self._api.create_message(self._space, kept.conversation_id, question, context.identity)
                message = parse_message({"conversation_id": kept.conversation_id, **told})
        if message is None:
            told = await self._api.start_conversation(self._space, question, context.identity)
            inner = told.get("message")
            message = parse_message({**told, **inner} if isinstance(inner, Mapping) else told)
        latest = GenieConversation(
            space=self._space,
            conversation_id=message.conversation_id,
            message_id=message.message_id,
            call=context.idempotency_key,
            identity=identity_key(context.identity),
        )
        try:
            await self._services.conversations.save(context.conversation, context.identity, latest)
        except StorageError as error:
            _log.warning("A conversation in Genie is not remembered (%s)", type(error).__name__)
        return message

    async def _kept(self) -> GenieConversation | None:
        try:
            return await self._services.conversations.find(
                self._context.conversation, self._space, self._context.identity
            )
        except StorageError as error:
            _log.warning("Which conversation in Genie goes on is not known (%s)", type(error).__name__)
            return None

    async def _ended(self, message: GenieMessage) -> GenieMessage:
        pause, failed_looks = _FIRST_PAUSE_SECONDS, 0
        said: Sentence | None = None
        while not message.ended:
            if (sentence := PROGRESS.get(message.status)) is not None and sentence is not said:
                said = sentence
                self._context.progress(self._context.translate(sentence))
            if message.query is not None and message.query.statement_id:
                self._statement = message.query.statement_id
            await self._services.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
            try:
                told = await self._api.get_message(
                    self._space, message.conversation_id, message.message_id, self._context.identity
                )
            except (WorkspaceUnavailableError, WorkspaceInterruptedError) as error:
                failed_looks += 1
                if failed_looks >= _MAX_FAILED_LOOKS:
                    raise
                _log.info("A look at Genie failed (%s); it is looked again", type(error).__name__)
                continue
            failed_looks = 0
            ids = {"conversation_id": message.conversation_id, "message_id": message.message_id}
            message = parse_message({**told, **ids})
        self._statement = ""
        return message

    async def _output(self, message: GenieMessage) -> ToolOutput:
        translate = self._context.translate
        if message.status == "CANCELLED":
            raise ToolError(translate(CANCELLED))
        if message.status == "FAILED":
            raise ToolError(translate(failure_sentence(message.error_type)))
        if message.clarification:
            text = f"Genie needs to know more. Ask the person exactly this, and do not guess: {message.clarification}"
            return ToolOutput(text)
        if message.query is None:
            text = "\n".join(message.texts) or "Genie gave no answer."
            return ToolOutput(
                f"Genie ran no query. It says: {text}\nTell the person so. If the question is not about this data, say "
                "that, and do not answer it from elsewhere."
            )
        stored = await self._stored(message, message.query)
        with suppress(StorageError):
            await self._services.results.save(self._context.conversation, stored)
        summary = "\n".join(message.texts)
        text = f"{summary}\n\n{for_model(stored.result, stored.id)}".strip()
        return ToolOutput(text, self._blocks(message, stored), feedback_targets=self._feedback_targets(message))

    def _feedback_targets(self, message: GenieMessage) -> tuple[FeedbackTarget, ...]:
        if self._context.identity != APP_IDENTITY:
            # The rating would have to come from the person, whose token is not kept.
            return ()
        return (GenieTarget(self._space, message.conversation_id, message.message_id),)

    async def _stored(self, message: GenieMessage, query: GenieQuery) -> StoredResult:
        ids = QueryIds(self._space, message.conversation_id, message.message_id, query.attachment_id)
        result, unread = await self._result(message, ids)
        translate = self._context.translate
        return stored_now(
            self._context,
            query.title,
            result,
            query=ids.query(query.sql),
            explanation=query.description,
            source=Link(translate(_SOURCE), f"{self._services.workspace_url}/genie/rooms/{self._space}"),
            unread=unread,
        )

    def _blocks(self, message: GenieMessage, stored: StoredResult) -> tuple[Block, ...]:
        translate = self._context.translate
        blocks = present(stored, translate)
        if message.details:
            blocks += (Folded(translate(_HOW), tuple(Text(each) for each in message.details[:4])),)
        asked: list[Action] = [ask_button(question, question) for question in message.follow_ups]
        return (*blocks, Actions(tuple(asked))) if asked else blocks

    async def _result(self, message: GenieMessage, ids: QueryIds) -> tuple[ResultSet, NextChunk | None]:
        def on_statement(statement: str) -> None:
            self._statement = statement

        results = GenieResults(self._api, self._services.sleep)
        anew = message.status == "QUERY_RESULT_EXPIRED"
        try:
            return await results.read(ids, self._context.identity, anew=anew, on_statement=on_statement)
        except QueryFailedError as error:
            raise ToolError(self._context.translate(failure_sentence("SQL_EXECUTION_EXCEPTION"))) from error

    async def _cancel_statement(self) -> None:
        if not self._statement:
            return
        try:
            await self._api.cancel_statement(self._statement, self._context.identity)
        except WorkspaceError as error:
            _log.warning("A query of Genie could not be cancelled (%s)", type(error).__name__)
