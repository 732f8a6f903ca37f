"""Requests of Foundry's agents: each is a turn of its own ledger, answered once, and its value is kept and sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

from app.agent.turn import Turn
from app.foundry.requests.kept_values import KeptValues, hashed_id
from app.foundry.requests.request_answerer import RequestAnswerer, RequestTurn
from app.foundry.requests.request_metrics import poison_received, request_ended, request_repeated
from app.foundry.requests.request_reply import LinkTo, RequestReply
from app.foundry.requests.tool_request import KeptValue, OpenRequest, ToolRequest
from app.foundry.tools.foundry_tool import FoundryTool
from app.storage.conversations import ConversationKey
from app.storage.documents import DocumentStore
from app.storage.ledger import TurnKey, TurnState
from app.storage.queue import Queue
from app.storage.storage_errors import StorageError
from app.telemetry.telemetry import Telemetry
from app.telemetry.turn_span import TurnSpan, current_turn, traced, turn_failed, turn_resumed
from app.turns.answerer import NoCommands
from app.turns.checkpoint import Checkpoint
from app.turns.claiming import ClaimedTurn
from app.turns.lease import TurnBackend, TurnLease
from app.turns.queue_dispatcher import QueueDispatcher
from app.turns.queue_message import TurnMessage, UnreadableMessageError
from app.turns.reply import UndeliveredError
from app.turns.runner import MAX_PAYLOAD_CHARACTERS, TurnRunner

_log = logging.getLogger(__name__)

REQUEST_QUEUE: Final = "foundry-requests"
REQUEST_KIND: Final = "foundry"
MAX_AGE_SECONDS: Final = 600.0
"""As long as a run in Foundry lives: afterwards nobody waits for the answer."""
TOO_LONG: Final = "The arguments are too long: 40,000 characters are allowed. Ask with less text."
POISONED: Final = "This call could not be processed. Ask again; if it fails again, tell an administrator of this tool."
LOST: Final = "The answer to this request could not be kept. Ask again."
_CHANNEL: Final = "foundry"
_TENANT: Final = "foundry"
_UNKNOWN_TOOL: Final = "unknown"
# A host brings up to 32 messages of each queue at once, and each takes several calls of storage.
_MAX_RECORDING: Final = 8
# Longer than a request may wait, so that the answer says that it is too late.
_TURN_SECONDS: Final = MAX_AGE_SECONDS + 60


@dataclass(frozen=True, slots=True)
class RequestStorage:
    """The `queue` of `turns` is `foundry-requests`. `open_output` opens the output queue of a tool, once each."""

    turns: TurnBackend
    documents: DocumentStore
    open_output: Callable[[str], Queue]


class ToolRequests:
    """`max_concurrent` tools are called at a time, each for `time_limit_seconds` at most."""

    def __init__(
        self,
        tools: Sequence[FoundryTool],
        storage: RequestStorage,
        telemetry: Telemetry,
        *,
        max_concurrent: int,
        time_limit_seconds: float,
        link_to: LinkTo | None = None,
    ) -> None:
        self._storage = storage
        self._telemetry = telemetry
        self._link_to = link_to
        self._values = KeptValues(storage.documents)
        answerer = RequestAnswerer(
            tools, self._values, max_concurrent=max_concurrent, time_limit_seconds=time_limit_seconds
        )
        self._runner = TurnRunner(answerer, NoCommands(), storage.turns, time_limit_seconds=_TURN_SECONDS)
        self._dispatcher = QueueDispatcher(telemetry)
        self._dispatcher.register(REQUEST_KIND, self._resume)
        self._outputs: dict[str, Queue] = {}
        self._recording = asyncio.Semaphore(_MAX_RECORDING)

    async def answer(
        self,
        request: ToolRequest,
        *,
        recorded: Callable[[], object] = lambda: None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> KeptValue | None:
        """The value, once it is kept, and sent where it is to be sent; None for a repeat that another worker has.

        Cancelled, it hands the request over to another worker. `recorded` is called once the request is on the queue
        `foundry-requests`, so that the message that brought it is no longer needed; `progress` with what the tool says
        while it runs. A value that could not be sent now is sent later. Raises `StorageError` where the request is not
        on that queue, so that it has to come again, and `UndeliveredError` where the value is given up.
        """
        request = _recordable(request)
        with traced(self._telemetry.activity(_CHANNEL, request.traceparent)) as span:
            try:
                message = TurnMessage(
                    _key(request), request.inserted_at, request.to_json(), span.traceparent, kind=REQUEST_KIND
                )
                async with self._recording:
                    lease = await self._runner.enter(message, waits=bool(request.conversation))
                if lease is None or lease.is_on_queue:
                    recorded()
                if lease is None:
                    request_repeated(request.tool)
                    return await self._values.find(request.tool, request.correlation_id)
                return await self._execute(lease, request, span, progress)
            finally:
                self._telemetry.answered()

    async def find(self, tool: str, correlation_id: str) -> KeptValue | OpenRequest | None:
        """None for a request that is not known; one with a `conversation` is known here once it is answered.

        Raises `StorageError`.
        """
        value = await self._values.find(tool, correlation_id)
        if value is not None:
            return value
        found = await self._storage.turns.store.find(_key(ToolRequest(tool, correlation_id, {}, 0.0)))
        if found is None:
            return None
        # One whose worker died before its envelope was on the queue stays as it is.
        is_waited_for = found.lease_until > self._storage.turns.clock() - MAX_AGE_SECONDS
        return OpenRequest() if found.state is TurnState.STARTED and is_waited_for else KeptValue(LOST, failed=True)

    async def process_message(self, body: bytes, traceparent: str | None = None) -> None:
        """A message of the queue `foundry-requests`: the worker of its request is gone, or it waits for its turn.

        Raises what lets the host deliver it again.
        """
        await self._dispatcher.dispatch(body, traceparent)

    async def refuse_poisoned(self, body: bytes, id: str, traceparent: str | None = None) -> None:
        """The message `id` of the poison queue of `foundry-requests`: its request is answered with a sentence.

        One that is answered already or that another worker has is left as it is, one that waits for an earlier one goes
        back to `foundry-requests`, and a message that cannot be read is dropped. Cancelled, it hands the request over
        to another worker. Raises `StorageError` where the message has to come again, and `UndeliveredError` where the
        value is given up.
        """
        try:
            message = _envelope(body)
        except UnreadableMessageError as reason:
            with self._poisoned(id, _UNKNOWN_TOOL, traceparent):
                _drop(id, _UNKNOWN_TOOL, reason)
            return
        tool = _tool_of(message.key)
        with self._poisoned(id, tool, message.traceparent or traceparent) as span:
            try:
                claim = await self._runner.claim(message, ToolRequest.from_json)
            except UnreadableMessageError as reason:
                _drop(id, tool, reason)
                return
            if isinstance(claim, ClaimedTurn):
                request = replace(claim.request, arguments={}, refusal=POISONED)
                await self._execute(claim.lease, request, span)

    async def close(self) -> None:
        """Hands over what it answers from the queue; the other two ways are their callers' to cancel."""
        await self._dispatcher.close()
        async with AsyncExitStack() as closing:
            for output in self._outputs.values():
                closing.push_async_callback(output.close)

    @contextmanager
    def _poisoned(self, id: str, tool: str, traceparent: str | None) -> Iterator[TurnSpan]:
        with traced(self._telemetry.activity("foundry poison", traceparent)) as span:
            poison_received(tool)
            _log.error("Message %s could not be processed and is on the poison queue of %s", id, REQUEST_QUEUE)
            try:
                yield span
            finally:
                self._telemetry.answered()

    async def _resume(self, body: bytes) -> None:
        message = TurnMessage.from_json(body)
        try:
            claim = await self._runner.claim(message, ToolRequest.from_json)
        except StorageError:
            await self._runner.requeue(message)
            return
        span = current_turn()
        if isinstance(claim, ClaimedTurn) and span is not None:
            turn_resumed(_CHANNEL)
            await self._execute(claim.lease, claim.request, span)

    async def _execute(
        self,
        lease: TurnLease,
        request: ToolRequest,
        span: TurnSpan,
        progress: Callable[[str], None] = lambda _: None,
    ) -> KeptValue | None:
        key = lease.record.key
        span.begin(channel=_CHANNEL, conversation=hashed_id(f"{key.conversation.conversation}")[:32])
        waited_seconds = max(0.0, lease.message_inserted_at - request.inserted_at)
        turn = RequestTurn(
            key.activity_id,
            key.conversation,
            "",
            request=request,
            waited_seconds=waited_seconds,
            deadline=asyncio.get_running_loop().time() + MAX_AGE_SECONDS - waited_seconds,
            progress=progress,
        )
        return await self._run(lease, turn, request)

    async def _run(self, lease: TurnLease, turn: Turn, request: ToolRequest) -> KeptValue | None:
        replies: list[RequestReply] = []

        def open_reply(_: Checkpoint) -> RequestReply:
            output = self._output(request.tool) if request.value_is_sent else None
            replies.append(RequestReply(request, self._values, output, self._link_to))
            return replies[-1]

        try:
            await self._runner.execute(lease, turn, open_reply)
        except UndeliveredError as failure:
            turn_failed(failure)
            raise
        value = replies[-1].value if replies else None
        if value is None and not lease.is_on_queue:
            raise StorageError("no other worker can answer it: its envelope could not be put on the queue")
        return value

    def _output(self, tool: str) -> Queue:
        if tool not in self._outputs:
            self._outputs[tool] = self._storage.open_output(tool)
        return self._outputs[tool]


def _recordable(request: ToolRequest) -> ToolRequest:
    try:
        fits = len(request.to_json()) <= MAX_PAYLOAD_CHARACTERS
    except RecursionError:
        fits = False
    return request if fits else replace(request, arguments={}, conversation="", refusal=TOO_LONG)


def _envelope(body: bytes) -> TurnMessage:
    """Raises `UnreadableMessageError`."""
    message = TurnMessage.from_json(body)
    if message.kind != REQUEST_KIND:
        raise UnreadableMessageError("kind: unknown")
    return message


def _drop(id: str, tool: str, reason: UnreadableMessageError) -> None:
    request_ended(tool, "dropped")
    _log.error("Message %s on the poison queue of %s is dropped, without an answer: %s", id, REQUEST_QUEUE, reason)


def _key(request: ToolRequest) -> TurnKey:
    """Hashed, since an envelope has little room for them."""
    id = hashed_id(request.correlation_id)
    order = f"conversation/{hashed_id(request.conversation)}" if request.conversation else f"request/{id}"
    return TurnKey(ConversationKey(_TENANT, f"{request.tool}/{order}"), id)


def _tool_of(key: TurnKey) -> str:
    return key.conversation.conversation.partition("/")[0]
