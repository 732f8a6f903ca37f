"""What Foundry's agents call, for the Functions host. Made with their first message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from app.composition.core import Core, storage_location
from app.composition.foundry_mcp import OpenFoundryMcp
from app.composition.foundry_tools import OpenFoundryTools
from app.config import Settings
from app.foundry.requests.request_metrics import poison_received, request_ended
from app.foundry.requests.tool_message import (
    QueuedMessage,
    ToolMessage,
    UnanswerableMessageError,
    is_queue,
    parse_tool_message,
)
from app.foundry.requests.tool_request import ToolRequest
from app.foundry.requests.tool_requests import POISONED, REQUEST_QUEUE, RequestStorage, ToolRequests
from app.resilience.circuit_breaker import CircuitBreaker
from app.storage.breaker_queue import BreakerQueue
from app.storage.factory import open_answer_links
from app.storage.queue import Queue
from app.storage.storage_errors import StorageError
from app.telemetry.turn_span import traced
from app.turns.lease import TurnBackend
from app.turns.queue_dispatcher import ShuttingDownError

if TYPE_CHECKING:
    from app.jobs.environment import WatchSettings

_log = logging.getLogger(__name__)

# Below functionTimeout in host.json, with which Azure's host ends the worker. The work goes on.
_WAITING_SECONDS: Final = 540.0
_CLOSE_SECONDS: Final = 10.0


class FoundryHost:
    """Owns the requests that it takes: at its end those that run are handed over to other workers."""

    def __init__(self, core: Core, settings: Settings, watch: WatchSettings | None = None) -> None:
        self._core = core
        self._settings = settings
        self._open_tools = OpenFoundryTools(core, settings, watch)
        self._queue = core.storage.open_queue(REQUEST_QUEUE)
        self._outputs: list[BreakerQueue] = []
        location = storage_location(settings.storage)
        self._links = open_answer_links(location, core.storage_credential) if settings.foundry.answer_links else None
        storage = core.storage
        backend = TurnBackend(storage.conversations, self._queue, storage.artifacts, settings.turns.lease_seconds)
        self.requests = ToolRequests(
            self._open_tools.tools,
            RequestStorage(backend, storage.documents, self._open_output),
            core.telemetry,
            max_concurrent=settings.foundry.max_concurrent_requests,
            time_limit_seconds=settings.turns.timeout_seconds,
            link_to=self._link_to if self._links is not None else None,
        )
        self.mcp = OpenFoundryMcp(settings, self._open_tools.tools, self.requests)
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def receive(self, tool: str, message: QueuedMessage) -> None:
        """A message of the tool's input queue. Returns when it is no longer needed.

        Raises `StorageError` and `ShuttingDownError`, after which the host has to deliver it again.
        """
        if (parsed := self._parsed(tool, message)) is not None:
            await self._answer(parsed.request)

    async def receive_poison(self, tool: str, message: QueuedMessage) -> None:
        """A message that could not be processed: it is answered with a sentence. Raises as `receive`."""
        with traced(self._core.telemetry.activity("foundry poison", message.traceparent)):
            poison_received(tool)
            _log.error("Message %s could not be processed and is on the poison queue of %s", message.id, tool)
        if (parsed := self._parsed(tool, message)) is not None:
            await self._answer(replace(parsed.request, arguments={}, refusal=POISONED))

    async def process_message(self, body: bytes, traceparent: str | None = None) -> None:
        """As `ToolRequests.process_message`."""
        await self.requests.process_message(body, traceparent)

    async def process_poison(self, body: bytes, id: str, traceparent: str | None = None) -> None:
        """As `ToolRequests.refuse_poisoned`. Raises `ShuttingDownError` too."""
        if self._closed:
            raise ShuttingDownError
        task = self._started(self.requests.refuse_poisoned(body, id, traceparent))
        await asyncio.wait([task])
        if task.cancelled():
            raise ShuttingDownError
        task.result()

    async def check(self) -> None:
        """Raises `CircuitOpenError` and `StorageError` where the queues of Foundry's agents do not answer."""
        for output in self._outputs:
            output.check()
        await asyncio.gather(self._queue.ping(), *(output.ping() for output in self._outputs))

    async def close(self) -> None:
        self._closed = True
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=_CLOSE_SECONDS)
        async with AsyncExitStack() as closing:
            for part in (self._queue, self._links, self._open_tools, self.requests, self.mcp):
                if part is None:
                    continue
                closing.push_async_callback(part.close)

    def _parsed(self, tool: str, message: QueuedMessage) -> ToolMessage | None:
        """None for a message that cannot be answered: to receive it again would change nothing."""
        try:
            parsed = parse_tool_message(tool, message)
        except UnanswerableMessageError as reason:
            with traced(self._core.telemetry.activity("foundry", message.traceparent)):
                request_ended(tool, "dropped")
                _log.error("Message %s on the queue of %s is dropped, without an answer: %s", message.id, tool, reason)
            self._core.telemetry.answered()
            return None
        account = self._settings.storage.queue_service_uri or ""
        uri, own = parsed.output_queue_uri, output_queue(self._settings, tool)
        if uri and not is_queue(uri, own, account):
            _log.warning("Message %s names another output queue; the answer goes to %s all the same", message.id, own)
        return parsed

    async def _answer(self, request: ToolRequest) -> None:
        if self._closed:
            raise ShuttingDownError
        recorded = asyncio.Event()
        task = self._started(self.requests.answer(request, recorded=recorded.set))
        await asyncio.wait([task], timeout=_WAITING_SECONDS)
        if not recorded.is_set() and (not task.done() or task.cancelled()):
            raise ShuttingDownError
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            if not recorded.is_set():
                raise error
            _log.error("A request of %s could not be answered", request.tool, exc_info=error)

    def _started(self, work: Coroutine[Any, Any, object]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _link_to(self, text: str) -> str | None:
        assert self._links is not None
        try:
            return await self._links.link_to(text)
        except StorageError as failure:
            _log.warning("A long answer is sent without a link to all of it (%s)", failure)
            return None

    def _open_output(self, tool: str) -> Queue:
        name = output_queue(self._settings, tool)
        # One of its own: a queue that is missing or refuses access says nothing of the others.
        queue = BreakerQueue(self._core.storage.open_queue(name), CircuitBreaker(f"queue {name}"))
        self._outputs.append(queue)
        return queue


def output_queue(settings: Settings, tool: str) -> str:
    return f"azure-function-{settings.foundry.queue_names[tool]}-output"
