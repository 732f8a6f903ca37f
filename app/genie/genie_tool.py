"""One question to one Genie space: asked once, followed to its end, and shown."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from pydantic import Field

from app.common.identity import APP_IDENTITY, identity_key
from app.common.keyed_locks import KeyedLocks
from app.content.blocks import Action, Actions, Block, Folded, Link, Text
from app.content.feedback_target import FeedbackTarget, GenieTarget
from app.data.present import present, stored_for_model
from app.data.result_set import ResultSet
from app.data.stored_results import StoredResult, StoredResults, stored_now
from app.databricks.genie_api import GenieApi
from app.databricks.statement_chunks import NextChunk
from app.databricks.workspace_errors import WorkspaceError
from app.genie.asking import Asking
from app.genie.chart_image import with_genies_image
from app.genie.genie_conversations import GenieConversations
from app.genie.genie_message import GenieMessage, GenieQuery, parse_message
from app.genie.genie_results import GenieResults, QueryFailedError, QueryIds
from app.genie.genie_sentences import CANCELLED, PROGRESS, THROTTLED, TIMED_OUT, failure_sentence, workspace_sentence
from app.genie.known_questions import KnownQuestions, known_id
from app.genie.looking import look, pauses_seconds
from app.genie.question_quota import QuestionQuota, QuotaExceededError
from app.messaging.actions import ask_button
from app.storage.storage_errors import StorageError
from app.tools.base import ToolArguments, ToolContext, ToolError, ToolOutput
from app.translation import Sentence

_log = logging.getLogger(__name__)

# A tool that is cancelled has two seconds to end.
CANCEL_SECONDS = 1.8
_MAX_QUESTION = 2_000
HOW = Sentence("How I got there")
_ASKED_BEFORE = Sentence("The same question was answered at {time} UTC: its SQL has run again.")
SOURCE = Sentence("Powered by Genie: open in Databricks")


class GenieArguments(ToolArguments):
    question: str = Field(
        max_length=_MAX_QUESTION,
        description="the question in plain words and the person's language, whole and with all that it refers to",
    )


@dataclass(frozen=True, slots=True)
class GenieServices:
    """`locks`: Genie refuses a question in a conversation whose last one has not ended."""

    api: GenieApi
    conversations: GenieConversations
    known: KnownQuestions
    quota: QuestionQuota
    results: StoredResults
    workspace_url: str
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    clock: Callable[[], float] = time.time
    locks: KeyedLocks = field(default_factory=KeyedLocks)


class GenieQuestion:
    """One call of the tool. Stop cancels the query at the warehouse: to stop looking would let it run on."""

    def __init__(self, services: GenieServices, space: str, context: ToolContext) -> None:
        self._services = services
        self._api = services.api
        self._space = space
        self._context = context
        self._running: GenieMessage | None = None
        self._statement = ""

    async def answer(self, arguments: GenieArguments) -> ToolOutput:
        context, services = self._context, self._services
        one_at_a_time = services.locks.of((context.conversation, self._space, identity_key(context.identity)))
        base = (services.api, services.conversations, services.quota, self._space, context, services.clock)
        asking = Asking(*base, sleep=services.sleep)
        try:
            async with asyncio.timeout_at(context.deadline - CANCEL_SECONDS):
                if (known := await self._known(asking, arguments.question)) is not None:
                    return known
                async with one_at_a_time:
                    message = await self._ended(await asking.ask_once(arguments.question))
                    output = await self._output(message)
                    if message.query is not None and await asking.is_first(message):
                        id = known_id(self._space, context.identity, arguments.question)
                        await services.known.save(context.conversation.tenant, id, message, message.query)
                    return output
        except asyncio.CancelledError:
            # Another worker may look at the same message.
            if not context.cancellation.goes_on_elsewhere:
                await self._cancel_statement()
            raise
        except TimeoutError as error:
            await self._cancel_statement()
            raise self._failure(TIMED_OUT) from error
        except QuotaExceededError as error:
            raise self._failure(THROTTLED) from error
        except WorkspaceError as error:
            _log.warning("Genie did not answer: %s", error)
            raise self._failure(workspace_sentence(error)) from error
        except ValueError as error:
            raise self._failure(failure_sentence("")) from error

    async def _known(self, asking: Asking, question: str) -> ToolOutput | None:
        """The answer by the SQL of the same question, asked lately; None where Genie has to be asked."""
        context, id = self._context, known_id(self._space, self._context.identity, question)
        known = await self._services.known.find(context.conversation.tenant, id)
        if known is None or await asking.has_asked():
            return None
        try:
            output = await self._output(known.message)
        except (ToolError, WorkspaceError, ValueError) as error:
            _log.info("The SQL of a known question no longer runs (%s)", type(error).__name__)
            return None
        time = datetime.fromtimestamp(known.answered_at_seconds, UTC).strftime("%H:%M")
        said = context.translate(_ASKED_BEFORE, time=time)
        # Not for the model, which would say it a second time; and Genie's message is another chat's to rate.
        return replace(output, blocks=(Text(said), *output.blocks), feedback_targets=())

    def _failure(self, sentence: Sentence) -> ToolError:
        told = self._context.translate(sentence)
        return ToolError(told, sentence=told)

    async def _ended(self, message: GenieMessage) -> GenieMessage:
        said: Sentence | None = None
        pauses = pauses_seconds()
        self._running = message
        while not message.ended:
            if (sentence := PROGRESS.get(message.status)) is not None and sentence is not said:
                said = sentence
                self._context.progress(self._context.translate(sentence))
            await self._services.sleep(next(pauses))
            message = self._running = await look(partial(self._look, message), self._services.sleep)
        return message

    async def _look(self, message: GenieMessage) -> GenieMessage:
        ids = (message.conversation_id, message.message_id)
        told = await self._api.get_message(self._space, *ids, self._context.identity)
        return parse_message({**told, "conversation_id": ids[0], "message_id": ids[1]})

    async def _output(self, message: GenieMessage) -> ToolOutput:
        if message.status == "CANCELLED":
            raise self._failure(CANCELLED)
        if message.status == "FAILED":
            raise self._failure(failure_sentence(message.error_type))
        if message.clarification and message.query is None:
            text = f"Genie needs to know more. Ask the person exactly this, and do not guess: {message.clarification}"
            return ToolOutput(text)
        if message.query is None:
            text = without_query("\n".join(message.texts))
            return ToolOutput(text, feedback_targets=self._feedback_targets(message))
        stored = await self._stored(message, message.query)
        with suppress(StorageError):
            await self._services.results.save(self._context.conversation, stored)
        summary = "\n".join((*message.texts, message.clarification)).strip()
        text = f"{summary}\n\n{stored_for_model(stored, self._context)}".strip()
        blocks = await self._blocks(message, stored)
        return ToolOutput(text, blocks, feedback_targets=self._feedback_targets(message))

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
            source=Link(translate(SOURCE), f"{self._services.workspace_url}/genie/rooms/{self._space}"),
            unread=unread,
        )

    async def _blocks(self, message: GenieMessage, stored: StoredResult) -> tuple[Block, ...]:
        translate = self._context.translate
        blocks = present(stored, translate)
        if self._context.shows_chart_images and message.visualization_id:
            blocks = await with_genies_image(blocks, self._api, self._space, message, self._context.identity)
        if message.details:
            blocks += (Folded(translate(HOW), tuple(Text(each) for each in message.details[:4])),)
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
            raise self._failure(failure_sentence("SQL_EXECUTION_EXCEPTION")) from error

    async def _cancel_statement(self) -> None:
        """Genie may have begun a query since the last look."""
        running, statement = self._running, self._statement
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                if running is not None and not running.ended:
                    query = (await self._look(running)).query
                    statement = query.statement_id if query is not None else ""
                if statement:
                    await self._api.cancel_statement(statement, self._context.identity)
        except (WorkspaceError, ValueError, TimeoutError) as error:
            _log.warning("A query of Genie could not be cancelled (%s)", type(error).__name__)


def without_query(said: str) -> str:
    """For the model, where Genie looked at no data."""
    return (
        f"Genie ran no query. It says: {said or 'Genie gave no answer.'}\nTell the person so. If the question is not "
        "about this data, say that, and do not answer it from elsewhere."
    )
