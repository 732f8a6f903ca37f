"""Queues whose messages are invisible for a time, which the holder of a message's receipt can extend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

# In UTF-8. Azure allows 64 KiB, after base64.
MAX_QUEUE_MESSAGE_BYTES = 48 * 1024
# Afterwards the queue drops a message, unless its sender chose another time.
MESSAGE_LIFETIME_SECONDS = 24 * 3600.0


def check_size(body: str) -> None:
    """Raises `ValueError` for a body that no queue takes."""
    if (size := len(body.encode())) > MAX_QUEUE_MESSAGE_BYTES:
        raise ValueError(f"a message of {size} bytes; a queue takes {MAX_QUEUE_MESSAGE_BYTES}")


@dataclass(frozen=True, slots=True)
class Receipt:
    """Identifies a message for a change. It is valid until the message is changed or received again.

    `inserted_at` is when the message was put on the queue, by storage's clock, in seconds since 1970. `repeats`, of one
    that has just been put, is how many more of it storage may have, because it had not answered.
    """

    message_id: str
    pop_receipt: str
    inserted_at: float = field(default=0.0, compare=False)
    repeats: int = field(default=0, compare=False)


class PopReceiptMismatchError(Exception):
    """The message has been received, changed or deleted by somebody else since."""


class Queue(Protocol):
    """All times in seconds."""

    async def put(
        self, body: str, *, visibility_timeout: float, time_to_live_seconds: float = MESSAGE_LIFETIME_SECONDS
    ) -> Receipt:
        """The message is gone after `time_to_live_seconds`, which is longer than the visibility timeout.

        Raises `ValueError` for more than `MAX_QUEUE_MESSAGE_BYTES`. The message may be on the queue twice if the answer
        to a first try was lost.
        """
        ...

    async def update_visibility(self, receipt: Receipt, *, visibility_timeout: float) -> Receipt:
        """Makes the message visible after `visibility_timeout` from now; 0 is at once. Returns the next receipt.

        Raises `PopReceiptMismatchError`, also if the change was made and its answer was lost.
        """
        ...

    async def delete(self, receipt: Receipt) -> None:
        """Deletes nothing if the receipt is no longer valid: Azure does not say whether the message still exists."""
        ...

    async def ping(self) -> None:
        """Peeks, to see whether the queue answers. Raises `app.storage.storage_errors.StorageError`."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """`dequeue_count` says how often the message has been received, this time included. `content` is what is stored,
    and `body` its text, decoded where it is encoded.
    """

    receipt: Receipt
    body: str
    dequeue_count: int
    content: str

    @property
    def inserted_at(self) -> float:
        return self.receipt.inserted_at


class MessageReceiver(Queue, Protocol):
    """The receiving end of a queue. In Azure the Functions host is the receiver."""

    async def put_content(self, content: str, *, visibility_timeout: float) -> Receipt:
        """Puts what another program has encoded in its own way, of any length that the storage takes, as it is."""
        ...

    async def receive(self, max_messages: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        """Receives up to `max_messages`, which are invisible to others for `visibility_timeout`."""
        ...
