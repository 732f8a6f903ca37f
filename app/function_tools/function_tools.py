"""A tool for each function: sends the question once, whichever worker makes the call, and waits for the answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from app.common.caller import Caller
from app.function_tools.answer_reader import AnswerReader
from app.function_tools.argument_check import check_arguments
from app.function_tools.function_calls import FunctionCall, FunctionCalls, correlation_id
from app.function_tools.function_messages import question
from app.function_tools.guarded_queue import GuardedQueue
from app.resilience.circuit_breaker import CircuitBreaker, CircuitOpenError
from app.resilience.retry import Backoff
from app.settings.function_tool_settings import FunctionTool, FunctionToolSettings
from app.storage.conversations import ConversationKey
from app.storage.documents import DocumentStore
from app.storage.queue import check_size
from app.storage.remote_queue import RemoteQueue, RemoteQueueBusyError, RemoteQueueRefusedError
from app.storage.storage_errors import StorageError
from app.telemetry.spans import current_span
from app.tools.base import AnyTool, Effect, RawArguments, Tool, ToolContext, ToolError, ToolOutput
from app.translation import Sentence

_log = logging.getLogger(__name__)

# Then what is said here is told to the model, and not that the tool was cancelled.
_GRACE_SECONDS = 5.0
# A tool that is cancelled has two seconds.
_ENDING_SECONDS = 1.5
_LOOK = Backoff(0.5, 3.0, jitter=0.2)
_Result = TypeVar("_Result")

_ASKING = Sentence("Asking {name}")


class FunctionTools:
    """`open_queue` is given the address of a queue service and the name of a queue."""

    def __init__(
        self,
        settings: FunctionToolSettings,
        documents: DocumentStore,
        open_queue: Callable[[str, str], RemoteQueue],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._calls = FunctionCalls(documents, clock=clock)
        breakers = {
            each.endpoint: CircuitBreaker(f"queues at {each.endpoint}", clock=_loop_clock) for each in settings.tools
        }

        def opened(tool: FunctionTool, name: str) -> GuardedQueue:
            return GuardedQueue(open_queue(tool.endpoint, name), breakers[tool.endpoint])

        self._questions = {each.name: opened(each, each.input_queue) for each in settings.tools}
        outputs = {(each.endpoint, each.output_queue): each for each in settings.tools}
        self._readers = {
            key: AnswerReader(each.output_queue, opened(each, each.output_queue), self._calls)
            for key, each in outputs.items()
        }
        self._tools = [self._tool(each) for each in settings.tools]

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return self._tools

    async def forget(self, conversation: ConversationKey, *, threads: bool = False) -> None:
        await self._calls.forget(conversation, threads=threads)

    async def sweep(self) -> None:
        """Drops answers that nobody waits for any more: after a time limit, or of a call that was forgotten."""
        for (_, name), reader in self._readers.items():
            try:
                await reader.sweep()
            except (StorageError, CircuitOpenError) as error:
                _log.warning("Answers on %s could not be swept (%s)", name, error)

    async def check(self) -> None:
        """Raises `StorageError` and `CircuitOpenError` where a queue of answers cannot be read."""
        await asyncio.gather(*(reader.check() for reader in self._readers.values()))

    async def close(self) -> None:
        async with AsyncExitStack() as closing:
            # Each is closed even where another fails.
            for queue in self._questions.values():
                closing.push_async_callback(queue.close)
            for reader in self._readers.values():
                closing.push_async_callback(reader.close)

    def _tool(self, function: FunctionTool) -> AnyTool:
        async def run(arguments: RawArguments, context: ToolContext) -> ToolOutput:
            return await self._ask(function, dict(arguments.values), context)

        return Tool(
            function.name,
            function.description,
            RawArguments,
            run,
            Effect.READ_ONLY if function.reads_only else Effect.NEEDS_APPROVAL,
            timeout_seconds=function.timeout_seconds + _GRACE_SECONDS,
            title=function.name,
            schema=function.parameters,
            is_resumable=True,
        )

    async def _ask(self, function: FunctionTool, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Raises `ToolError`."""
        context.progress(context.translate(_ASKING, name=function.name))
        await check_arguments(function.parameters, arguments)
        id = correlation_id(context.conversation, context.idempotency_key, function.name, arguments)
        span = current_span()
        traceparent = span.traceparent if span is not None else ""
        body = question(arguments, id, nested=function.nests_arguments, traceparent=traceparent)
        try:
            check_size(body)
        except ValueError:
            raise ToolError("its arguments are too long for a queue") from None
        with self._readers[function.endpoint, function.output_queue].waiting_for(id) as arrived:
            call = await self._begun(id) or await self._begin(function, id, body)
            value = await self._answer(function, id, call, arrived, context)
        return ToolOutput(value or "The function has ended, and answered without a value.")

    async def _begun(self, id: str) -> FunctionCall | None:
        """The call of an earlier attempt. Raises `ToolError`."""
        try:
            return await self._calls.find(id)
        except StorageError as error:
            raise ToolError("storage does not answer; whether the function was asked before is not known") from error

    async def _begin(self, function: FunctionTool, id: str, body: str) -> FunctionCall:
        """Raises `ToolError`."""
        try:
            # Before there is a row: a worker that dies between row and question leaves a call that was never sent.
            await self._questions[function.name].open()
        except (StorageError, CircuitOpenError) as error:
            raise _not_asked(function, error) from error
        return await _finished(self._insert_and_send(function, id, body))

    async def _insert_and_send(self, function: FunctionTool, id: str, body: str) -> FunctionCall:
        """Raises `ToolError`."""
        try:
            call, is_new = await self._calls.begin(id)
        except StorageError as error:
            raise ToolError("storage does not answer; the function was not asked") from error
        if is_new:
            await self._send(function, id, body)
        return call

    async def _send(self, function: FunctionTool, id: str, body: str) -> None:
        """Raises `ToolError` where the question was not sent for certain."""
        try:
            await self._questions[function.name].put(body, time_to_live_seconds=function.timeout_seconds)
        except (RemoteQueueRefusedError, RemoteQueueBusyError, CircuitOpenError) as error:
            try:
                await self._calls.delete(id)
            except StorageError as failure:
                _log.info("A call of %s is left to its retention (%s)", function.name, failure)
            raise _not_asked(function, error) from error
        except StorageError as error:
            # It may stand on the queue, so it is not sent again, and an answer may come.
            _log.warning("Function %s: whether it was asked is not known (%s)", function.name, error)

    async def _answer(
        self, function: FunctionTool, id: str, call: FunctionCall, arrived: asyncio.Event, context: ToolContext
    ) -> str:
        """Raises `ToolError`."""
        clock = asyncio.get_running_loop().time
        seconds = call.asked_at + function.timeout_seconds - self._clock()
        ends_at = min(clock() + seconds, context.deadline - _GRACE_SECONDS / 2)
        looks = 0
        while call.value is None:
            left = ends_at - clock()
            if left <= 0:
                raise ToolError(
                    f"{function.name} has not answered in time; whether it did what it was asked is not known"
                )
            looks += 1
            try:
                async with asyncio.timeout(min(left, _LOOK.pause_seconds(looks) or left)):
                    await arrived.wait()
            except TimeoutError:
                # Another worker may have read it.
                pass
            arrived.clear()
            try:
                found = await self._calls.find(id)
            except StorageError as error:
                _log.info("Function %s: its answer cannot be looked for (%s)", function.name, error)
                continue
            if found is None:
                raise ToolError("the conversation was forgotten while the function was asked")
            call = found
        return call.value


def _not_asked(function: FunctionTool, error: Exception) -> ToolError:
    _log.warning("Function %s: nothing can be put on %s (%s)", function.name, function.input_queue, error)
    reason = "its queue does not answer"
    if isinstance(error, RemoteQueueRefusedError):
        reason = "its queue is missing or refuses access; an administrator can see to that"
    return ToolError(f"{function.name} was not asked: {reason}")


async def _finished(work: Coroutine[Any, Any, _Result]) -> _Result:
    """What `work` returns. A worker that is told to stop still ends it, for as long as a tool may take to end."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=_ENDING_SECONDS)
        if not task.done():
            task.cancel()
        elif not task.cancelled():
            # Read once, so that asyncio does not report it.
            task.exception()
        raise


def _loop_clock() -> float:
    return asyncio.get_running_loop().time()
