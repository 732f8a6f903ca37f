"""A queue in memory on the event loop's own clock, which can be made not to answer."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from dataclasses import dataclass, field

from app.storage.failures import StorageFailed
from app.storage.queue import Receipt, ReceiptEnded, Taken


@dataclass
class Message:
    body: str
    appears: float
    proof: str
    tries: int = 0


@dataclass
class MemoryInbox:
    """`takes` are the times at which somebody asked for messages. While `fails`, whatever is asked raises."""

    fails: bool = False
    messages: dict[str, Message] = field(default_factory=dict)
    takes: list[float] = field(default_factory=list)
    closed: bool = False
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def bodies(self) -> list[str]:
        return [message.body for message in self.messages.values()]

    async def put(self, body: str, *, hidden_for: float) -> Receipt:
        self._answer()
        name, proof = f"message-{next(self._numbers)}", self._proof()
        self.messages[name] = Message(body, self._now() + hidden_for, proof)
        return Receipt(name, proof)

    async def take(self, most: int, *, hidden_for: float) -> list[Taken]:
        self.takes.append(self._now())
        self._answer()
        taken: list[Taken] = []
        for name, message in self.messages.items():
            if message.appears <= self._now() and len(taken) < most:
                message.tries += 1
                message.appears, message.proof = self._now() + hidden_for, self._proof()
                taken.append(Taken(Receipt(name, message.proof), message.body, message.tries))
        return taken

    async def hide(self, receipt: Receipt, *, hidden_for: float) -> Receipt:
        self._answer()
        message = self._held(receipt)
        message.appears, message.proof = self._now() + hidden_for, self._proof()
        return Receipt(receipt.message, message.proof)

    async def delete(self, receipt: Receipt) -> None:
        self._answer()
        with suppress(ReceiptEnded):
            self._held(receipt)
            del self.messages[receipt.message]

    async def ping(self) -> None:
        self._answer()

    async def close(self) -> None:
        self.closed = True

    def _held(self, receipt: Receipt) -> Message:
        message = self.messages.get(receipt.message)
        if message is None or message.proof != receipt.proof:
            raise ReceiptEnded
        return message

    def _answer(self) -> None:
        if self.fails:
            raise StorageFailed("the queue does not answer")

    def _proof(self) -> str:
        return f"proof-{next(self._numbers)}"

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
