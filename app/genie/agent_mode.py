"""One question to one Genie space in agent mode: Genie plans, runs several queries, and reports while it works.

The stream is read as far as it comes. After a cut, and in another worker, the items of the conversation tell the rest:
the question is never asked twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any

from app.common.identity import APP_IDENTITY, identity_key
from app.common.json_values import items
from app.content.block_limits import within_limits
from app.content.blocks import Block, Code, Folded, FoldedBlock, Link, Text
from app.content.feedback_target import FeedbackTarget, GenieTarget
from app.data.present import SHOW_SQL, for_model, present
from app.data.stored_results import Query, StoredResult, stored_now
from app.databricks.genie_agents_api import GenieAgentsApi
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceInterruptedError,
    WorkspaceNotFoundError,
    WorkspaceRequestError,
)
from app.genie.agent_response import CANCELLED, AgentAnswer, AgentQuery, AgentResponse, query_of, thought_of
from app.genie.agent_result import result_of
from app.genie.asking import Asking
from app.genie.genie_message import GenieMessage, parse_message
from app.genie.genie_sentences import BUSY, PROGRESS, THROTTLED, TIMED_OUT, failure_sentence, workspace_sentence
from app.genie.genie_tool import CANCEL_SECONDS, HOW, SOURCE, GenieArguments, GenieServices, without_query
from app.genie.looking import look, pauses_seconds
from app.genie.question_quota import QuotaExceededError
from app.models.sse import EventTooLargeError, SseDecoder
from app.storage.storage_errors import StorageError
from app.tools.base import ToolContext, ToolError, ToolOutput
from app.translation import Sentence

_log = logging.getLogger(__name__)

MODE = "agent"
_NOT_THERE = frozenset({"FEATURE_DISABLED", "ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED"})
_MAX_STREAM_BYTES = 64 * 1024 * 1024
_MAX_LINE_CHARACTERS = 120
_MAX_REPORT_CHARACTERS = 12_000
_FOLDED_THOUGHTS = 4
_FOLDED_QUERIES = 5
_RUNNING = Sentence("Running a query: {title}")


class AgentModeMissingError(Exception):
    """The workspace does not have agent mode, or not for this identity. Nothing was asked."""


class AgentQuestion:
    """One call of the tool. Stop cancels the response at Genie: to stop reading would let it run on.

    `sql_capability` can run a query of Genie's again (`app.data.stored_results.Query`); empty where none can.
    """

    def __init__(
        self,
        services: GenieServices,
        agents: GenieAgentsApi,
        space: str,
        context: ToolContext,
        sql_capability: str = "",
    ) -> None:
        self._services = services
        self._agents = agents
        self._space = space
        self._context = context
        self._sql_capability = sql_capability
        self._response = AgentResponse()
        self._events: AsyncIterator[Mapping[str, Any]] | None = None

    async def answer(self, arguments: GenieArguments) -> ToolOutput:
        """Raises `ToolError`, and `AgentModeMissingError`."""
        context, services = self._context, self._services
        one_at_a_time = services.locks.of((context.conversation, self._space, identity_key(context.identity)))
        try:
            async with asyncio.timeout_at(context.deadline - CANCEL_SECONDS), one_at_a_time, AsyncExitStack() as stack:
                message = await self._asking(stack).ask_once(arguments.question)
                self._response.conversation_id, self._response.response_id = message.conversation_id, message.message_id
                await self._read_stream()
                await self._follow_items()
            return await self._output()
        except asyncio.CancelledError:
            # Another worker may follow the same response.
            if not context.cancellation.goes_on_elsewhere:
                await self._cancel()
            raise
        except TimeoutError as error:
            await self._cancel()
            raise self._failure(TIMED_OUT) from error
        except QuotaExceededError as error:
            raise self._failure(THROTTLED) from error
        except WorkspaceError as error:
            _log.warning("Genie did not answer: %s", error)
            raise self._failure(BUSY if _is_conflict(error) else workspace_sentence(error)) from error
        except ValueError as error:
            raise self._failure(failure_sentence("")) from error

    def _failure(self, sentence: Sentence) -> ToolError:
        told = self._context.translate(sentence)
        return ToolError(told, sentence=told)

    def _asking(self, stack: AsyncExitStack) -> Asking:
        async def post(conversation: str, question: str) -> GenieMessage:
            try:
                return await self._begin_anywhere(stack, conversation, question)
            except WorkspaceError as error:
                if error.error_code in _NOT_THERE:
                    raise AgentModeMissingError from error
                raise

        services = self._services
        base = (services.api, services.conversations, services.quota, self._space, self._context, services.clock)
        return Asking(*base, MODE, post, services.sleep)

    async def _begin_anywhere(self, stack: AsyncExitStack, conversation: str, question: str) -> GenieMessage:
        if conversation:
            try:
                return await self._begin(stack, conversation, question)
            except (WorkspaceNotFoundError, WorkspaceRequestError) as error:
                if error.error_code in _NOT_THERE or _is_conflict(error):
                    raise
                _log.info("A conversation in Genie does not go on; another is started")
        return await self._begin(stack, "", question)

    async def _begin(self, stack: AsyncExitStack, conversation: str, question: str) -> GenieMessage:
        """The response that the stream begins with; its other events are read later."""
        chunks = await stack.enter_async_context(
            self._agents.respond(self._space, conversation, question, self._context.identity)
        )
        self._events = await stack.enter_async_context(aclosing(_events(chunks)))
        response = self._response
        async for event in self._events:
            self._take(event)
            if response.error_code:
                raise self._failure(failure_sentence(response.error_code))
            if response.response_id and response.conversation_id:
                return GenieMessage(response.conversation_id, response.response_id, "SUBMITTED")
        raise WorkspaceInterruptedError("Genie's stream ended before it told of a response")

    async def _read_stream(self) -> None:
        if self._events is None:
            return
        try:
            async for event in self._events:
                self._take(event)
                if self._response.ended:
                    return
        except (WorkspaceInterruptedError, EventTooLargeError) as error:
            _log.info("Genie's stream broke off (%s); the conversation's items tell the rest", type(error).__name__)

    def _take(self, event: Mapping[str, Any]) -> None:
        self._show(self._response.take_event(event))

    def _show(self, item: Mapping[str, Any]) -> None:
        translate, query = self._context.translate, query_of(item)
        line = thought_of(item).partition("\n")[0]
        if query is not None:
            line = translate(_RUNNING, title=query.title) if query.title else translate(PROGRESS["EXECUTING_QUERY"])
        if line:
            self._context.progress(line[:_MAX_LINE_CHARACTERS])

    async def _follow_items(self) -> None:
        response, pauses = self._response, pauses_seconds()
        while not response.ended:
            message = await look(self._message, self._services.sleep)
            for item in response.take_newest(await look(self._newest_items, self._services.sleep)):
                self._show(item)
            match message.status if message is not None else "":
                case "FAILED" if message is not None:
                    response.fail(message.error_type)
                case "CANCELLED":
                    response.fail(CANCELLED)
                case "" if response.has_report:
                    response.ended = True
                case _ if message is not None and message.ended:
                    response.ended = True
                case _:
                    await self._services.sleep(next(pauses))

    async def _newest_items(self) -> Sequence[Any]:
        conversation = self._response.conversation_id
        told = await self._agents.newest_items(self._space, conversation, self._context.identity)
        return items(told.get("data"))

    async def _message(self) -> GenieMessage | None:
        """What the response is in the Conversation API, if Genie knows it there by the same id."""
        ids = (self._response.conversation_id, self._response.response_id)
        try:
            told = await self._services.api.get_message(self._space, *ids, self._context.identity)
        except (WorkspaceNotFoundError, WorkspaceRequestError):
            return None
        return parse_message({**told, "conversation_id": ids[0], "message_id": ids[1]})

    async def _output(self) -> ToolOutput:
        if self._response.error_code:
            raise self._failure(failure_sentence(self._response.error_code))
        answer = self._response.answer()
        if not answer.queries and not answer.sources:
            return ToolOutput(without_query(answer.report))
        report = answer.report[:_MAX_REPORT_CHARACTERS]
        shown = next((query for query in reversed(answer.queries) if result_of(query) is not None), None)
        blocks: tuple[Block, ...] = ()
        if shown is not None and (stored := self._stored(shown)) is not None:
            with suppress(StorageError):
                await self._services.results.save(self._context.conversation, stored)
            report = f"{report}\n\n{for_model(stored.result, stored.id)}".strip()
            blocks = present(stored, self._context.translate)
            if stored.query is None:
                sql = Folded(self._context.translate(SHOW_SQL), (Code(shown.sql, "sql"),))
                blocks += (within_limits(sql),)
        details = self._details(answer, shown)
        return ToolOutput(
            report or "Genie gave no answer.",
            (*blocks, within_limits(details)) if details is not None else blocks,
            answer.sources,
            feedback_targets=self._feedback_targets(),
        )

    def _feedback_targets(self) -> tuple[FeedbackTarget, ...]:
        if self._context.identity != APP_IDENTITY:
            # The rating would have to come from the person, whose token is not kept.
            return ()
        return (GenieTarget(self._space, self._response.conversation_id, self._response.response_id),)

    def _stored(self, query: AgentQuery) -> StoredResult | None:
        result = result_of(query)
        if result is None:
            return None
        return stored_now(
            self._context,
            query.title,
            result,
            query=Query(capability=self._sql_capability, sql=query.sql) if self._sql_capability else None,
            source=Link(self._context.translate(SOURCE), f"{self._services.workspace_url}/genie/rooms/{self._space}"),
        )

    def _details(self, answer: AgentAnswer, shown: AgentQuery | None) -> Folded | None:
        details: list[FoldedBlock] = [Text(each) for each in answer.thoughts[:_FOLDED_THOUGHTS]]
        earlier = [query for query in answer.queries if query is not shown]
        details += [Code(query.sql, "sql", query.title) for query in earlier[:_FOLDED_QUERIES]]
        return Folded(self._context.translate(HOW), tuple(details)) if details else None

    async def _cancel(self) -> None:
        """Genie stops at its next step."""
        response = self._response
        if response.ended or not response.response_id or not response.conversation_id:
            return
        ids = (response.conversation_id, response.response_id)
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._agents.cancel(self._space, *ids, self._context.identity)
        except (WorkspaceError, TimeoutError) as error:
            _log.warning("A response of Genie could not be cancelled (%s)", type(error).__name__)


async def _events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[Mapping[str, Any]]:
    """Raises `WorkspaceError` and `EventTooLargeError`."""
    decoder, size = SseDecoder(), 0
    async for chunk in chunks:
        size += len(chunk)
        if size > _MAX_STREAM_BYTES:
            raise EventTooLargeError
        for data in decoder.feed(chunk):
            if event := _event(data):
                yield event
    for data in decoder.flush():
        if event := _event(data):
            yield event


def _event(data: bytes) -> Mapping[str, Any]:
    """Empty for what is none, such as [DONE]."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _is_conflict(error: WorkspaceError) -> bool:
    """Another response of the conversation has not ended."""
    return error.reply is not None and error.reply.status == 409
