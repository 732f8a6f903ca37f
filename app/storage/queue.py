"""A queue whose messages can be hidden for a while: who holds the receipt of one may put its appearance off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Receipt:
    """The right to change one message. It ends with the next change, and when somebody takes the message."""

    message: str
    proof: str


class ReceiptEnded(Exception):
    """The message has been taken, changed or deleted by somebody else since."""


class Queue(Protocol):
    """All times in seconds."""

    async def put(self, body: str, *, hidden_for: float) -> Receipt: ...

    async def hide(self, receipt: Receipt, *, hidden_for: float) -> Receipt:
        """From now on the message appears after `hidden_for`; 0 is at once. Raises `ReceiptEnded`."""
        ...

    async def delete(self, receipt: Receipt) -> None:
        """What is not there any more is no error. Raises `ReceiptEnded` if somebody has taken the message."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Taken:
    """`tries` counts how often the message has been taken, this time included."""

    receipt: Receipt
    body: str
    tries: int


class Inbox(Queue, Protocol):
    """The other end of a queue; in Azure the Functions host has it."""

    async def take(self, most: int, *, hidden_for: float) -> list[Taken]:
        """Up to `most` messages that nobody else gets while they are hidden."""
        ...
