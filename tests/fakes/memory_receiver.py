"""A queue in memory on the event loop's own clock, which can be made not to answer."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from dataclasses import dataclass, field

from app.storage.queue import MESSAGE_LIFETIME_SECONDS, PopReceiptMismatchError, Receipt, ReceivedMessage
from app.storage.queue_encoding import encode_message, text_of
from app.storage.storage_errors import StorageError


@dataclass
class Message:
    content: str
    appears: float
    pop_receipt: str
    inserted_at: float = 0.0
    dequeue_count: int = 0


@dataclass
class MemoryReceiver:
    """`takes` are the times at which somebody asked for messages. While `fails`, whatever is asked raises."""

    fails: bool = False
    messages: dict[str, Message] = field(default_factory=dict)
    takes: list[float] = field(default_factory=list)
    closed: bool = False
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def bodies(self) -> list[str]:
        return [text_of(message.content) for message in self.messages.values()]

    async def put(
        self, body: str, *, visibility_timeout: float, time_to_live_seconds: float = MESSAGE_LIFETIME_SECONDS
    ) -> Receipt:
        return await self.put_content(encode_message(body), visibility_timeout=visibility_timeout)

    async def put_content(self, content: str, *, visibility_timeout: float) -> Receipt:
        self._answer()
        name, pop_receipt = f"message-{next(self._numbers)}", self._proof()
        self.messages[name] = Message(content, self._now() + visibility_timeout, pop_receipt, self._now())
        return Receipt(name, pop_receipt, self._now())

    async def receive(self, max_messages: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        self.takes.append(self._now())
        self._answer()
        taken: list[ReceivedMessage] = []
        for name, message in self.messages.items():
            if message.appears <= self._now() and len(taken) < max_messages:
                message.dequeue_count += 1
                message.appears, message.pop_receipt = self._now() + visibility_timeout, self._proof()
                receipt, content = Receipt(name, message.pop_receipt, message.inserted_at), message.content
                taken.append(ReceivedMessage(receipt, text_of(content), message.dequeue_count, content))
        return taken

    async def update_visibility(self, receipt: Receipt, *, visibility_timeout: float) -> Receipt:
        self._answer()
        message = self._held(receipt)
        message.appears, message.pop_receipt = self._now() + visibility_timeout, self._proof()
        return Receipt(receipt.message_id, message.pop_receipt)

    async def delete(self, receipt: Receipt) -> None:
        self._answer()
        with suppress(PopReceiptMismatchError):
            self._held(receipt)
            del self.messages[receipt.message_id]

    async def ping(self) -> None:
        self._answer()

    async def close(self) -> None:
        self.closed = True

    def _held(self, receipt: Receipt) -> Message:
        message = self.messages.get(receipt.message_id)
        if message is None or message.pop_receipt != receipt.pop_receipt:
            raise PopReceiptMismatchError
        return message

    def _answer(self) -> None:
        if self.fails:
            raise StorageError("the queue does not answer")

    def _proof(self) -> str:
        return f"proof-{next(self._numbers)}"

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
