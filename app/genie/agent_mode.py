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
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from app.common.identity import APP_IDENTITY, identity_key
from app.common.json_values import items
from app.content.blocks import Link
from app.content.feedback_target import GenieTarget
from app.databricks.genie_agents_api import GenieAgentsApi
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceInterruptedError,
    WorkspaceNotFoundError,
    WorkspaceRequestError,
)
from app.genie.agent_output import agent_output
from app.genie.agent_response import CANCELLED, AgentResponse, query_of, thought_of
from app.genie.asking import Asking
from app.genie.genie_message import GenieMessage, parse_message
from app.genie.genie_sentences import BUSY, PROGRESS, THROTTLED, TIMED_OUT, failure_sentence, workspace_sentence
from app.genie.genie_tool import CANCEL_SECONDS, SOURCE, GenieArguments, GenieServices
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
_MAX_CONFLICTS = 6
_MAX_LINE_CHARACTERS = 120
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
                message = await self._asked_once(stack, arguments.question)
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

    async def _asked_once(self, stack: AsyncExitStack, question: str) -> GenieMessage:
        services, context = self._services, self._context
        asking = Asking(
            *(services.api, services.conversations, services.quota, self._space, context, services.clock),
            mode=MODE,
            post=partial(self._begin_anywhere, stack),
        )
        try:
            return await asking.ask_once(question)
        except WorkspaceError as error:
            if error.error_code in _NOT_THERE:
                raise AgentModeMissingError from error
            raise

    async def _begin_anywhere(self, stack: AsyncExitStack, conversation: str, question: str) -> GenieMessage:
        for pause in islice(pauses_seconds(), _MAX_CONFLICTS):
            try:
                return await self._begin(stack, conversation, question)
            except (WorkspaceNotFoundError, WorkspaceRequestError) as error:
                if _is_conflict(error):
                    # A response that was cancelled ends at its next step.
                    await self._services.sleep(pause)
                elif not conversation or error.error_code in _NOT_THERE:
                    raise
                else:
                    _log.info("A conversation in Genie does not go on; another is started")
                    conversation = ""
        return await self._begin(stack, conversation, question)

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
        except WorkspaceInterruptedError as error:
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
        services, context, response = self._services, self._context, self._response
        if response.error_code:
            raise self._failure(failure_sentence(response.error_code))
        source = Link(context.translate(SOURCE), f"{services.workspace_url}/genie/rooms/{self._space}")
        output, stored = agent_output(response.answer(), context, source, self._sql_capability)
        if stored is not None:
            with suppress(StorageError):
                await services.results.save(context.conversation, stored)
        # A rating would have to come from the person, whose token is not kept.
        is_rated = context.identity == APP_IDENTITY
        target = GenieTarget(self._space, response.conversation_id, response.response_id)
        return replace(output, feedback_targets=(target,) if is_rated else ())

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
    """Raises `WorkspaceError`."""
    decoder, size = SseDecoder(), 0
    async for chunk in chunks:
        size += len(chunk)
        try:
            arrived = decoder.feed(chunk)
        except EventTooLargeError:
            size = _MAX_STREAM_BYTES + 1
        if size > _MAX_STREAM_BYTES:
            raise WorkspaceInterruptedError("Genie's stream is too long to be read")
        for data in arrived:
            yield _event(data)
    for data in decoder.flush():
        yield _event(data)


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
