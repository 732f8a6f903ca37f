"""The queues of functions in memory, and a function that answers what is put on its queue; in virtual time."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.storage.queue import Receipt, ReceivedMessage
from app.storage.storage_errors import StorageError
from tests.fakes.memory_receiver import MemoryReceiver


@dataclass
class MemoryRemoteQueue:
    """`fails` is raised by every call; `put_fails` by a put, after `put_is_kept` says whether the message is there.
    While `hangs`, nothing ends but by cancellation.
    """

    messages: MemoryReceiver = field(default_factory=MemoryReceiver)
    fails: StorageError | None = None
    put_fails: StorageError | None = None
    put_is_kept: bool = True
    hangs: bool = False
    put_at: list[float] = field(default_factory=list)
    times_to_live: list[float] = field(default_factory=list)
    reads: int = 0
    closed: int = 0

    async def open(self) -> None:
        """Nothing has to be fetched."""

    async def put(self, body: str, *, time_to_live_seconds: float) -> None:
        self.put_at.append(asyncio.get_running_loop().time())
        await self._answer()
        self.times_to_live.append(time_to_live_seconds)
        if self.put_fails is None or self.put_is_kept:
            await self.messages.put(body, visibility_timeout=0)
        if self.put_fails is not None:
            raise self.put_fails

    async def receive(self, max_messages: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        self.reads += 1
        await self._answer()
        return await self.messages.receive(max_messages, visibility_timeout=visibility_timeout)

    async def delete(self, receipt: Receipt) -> None:
        await self._answer()
        await self.messages.delete(receipt)

    async def ping(self) -> None:
        await self._answer()

    async def close(self) -> None:
        self.closed += 1

    async def _answer(self) -> None:
        # As a request does, it lets others run.
        await asyncio.sleep(0.01)
        if self.hangs:
            # As a real one does at its time limit.
            await asyncio.sleep(10)
            raise StorageError("TimeoutError")
        if self.fails is not None:
            raise self.fails


class FunctionQueues:
    """All that are opened, by endpoint and name: every worker opens the same ones."""

    def __init__(self) -> None:
        self.queues: defaultdict[tuple[str, str], MemoryRemoteQueue] = defaultdict(MemoryRemoteQueue)

    def open(self, endpoint: str, name: str) -> MemoryRemoteQueue:
        return self.queues[endpoint, name]

    def named(self, name: str) -> MemoryRemoteQueue:
        return next(queue for (_, each), queue in self.queues.items() if each == name)

    async def asked(self, name: str = "fn-in") -> dict[str, Any]:
        """The next question, taken off the queue."""
        queue = self.named(name).messages
        while not queue.messages:  # noqa: ASYNC110 - as a function looks for it
            await asyncio.sleep(0.05)
        (message,) = await queue.receive(1, visibility_timeout=60)
        await queue.delete(message.receipt)
        read: dict[str, Any] = json.loads(message.body)
        return read

    async def answer(self, content: str | dict[str, Any], name: str = "fn-out") -> None:
        """As the function's side writes it: an object is encoded as Azure Functions does."""
        if isinstance(content, dict):
            content = base64.b64encode(json.dumps(content).encode()).decode()
        await self.named(name).messages.put_content(content, visibility_timeout=0)

    async def serve(self, function: Callable[[dict[str, Any]], object], *, seconds: float = 0.0) -> None:
        """Answers without end."""
        while True:
            question = await self.asked()
            await asyncio.sleep(seconds)
            value = function(question)
            await self.answer({"Value": value, "CorrelationId": question["CorrelationId"]})
