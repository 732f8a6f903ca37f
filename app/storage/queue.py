"""A queue whose messages can be hidden for a while: who holds the receipt of one may put its appearance off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

# Of a body in UTF-8: Azure's 64 KiB are counted in base64.
MAX_MESSAGE_BYTES = 48 * 1024
# What nobody has taken until then is gone.
MESSAGE_LIFETIME_SECONDS = 24 * 3600.0


def check_size(body: str) -> None:
    """Raises `ValueError` for a body that no queue takes."""
    if (size := len(body.encode())) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {size} bytes; a queue takes {MAX_MESSAGE_BYTES}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """The right to change one message. It ends with the next change, and when somebody takes the message."""

    message: str
    pop_receipt: str


class PopReceiptMismatchError(Exception):
    """The message has been taken, changed or deleted by somebody else since."""


class Queue(Protocol):
    """All times in seconds."""

    async def put(self, body: str, *, visibility_timeout: float) -> Receipt:
        """Raises `ValueError` for more than `MAX_MESSAGE_BYTES`. After an answer that was lost it may be there
        twice."""
        ...

    async def update_visibility(self, receipt: Receipt, *, visibility_timeout: float) -> Receipt:
        """From now on the message appears after `visibility_timeout`; 0 is at once. Raises `PopReceiptMismatchError`.

        So it does when the answer to the first try was lost: then the message appears after `visibility_timeout` all
        the same.
        """
        ...

    async def delete(self, receipt: Receipt) -> None:
        """A receipt that has ended deletes nothing, and that is no error: Azure says the same of what is gone."""
        ...

    async def ping(self) -> None:
        """Returns when the queue answers, raises when it does not. Costs little, takes nothing."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """`dequeue_count` counts how often the message has been taken, this time included."""

    receipt: Receipt
    body: str
    dequeue_count: int


class MessageReceiver(Queue, Protocol):
    """The other end of a queue; in Azure the Functions host has it."""

    async def take(self, most: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        """Up to `most` messages that nobody else gets while they are hidden."""
        ...
