"""A queue that another program reads or writes: what is put there twice is done twice."""

from __future__ import annotations

from typing import Protocol

from app.storage.queue import Receipt, ReceivedMessage
from app.storage.storage_errors import StorageError


class RemoteQueueBusyError(StorageError):
    """The queue did not take the call, which may be repeated, after `retry_after_seconds` where it names a time."""

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class RemoteQueueRefusedError(StorageError):
    """The queue answered that it is missing, or that this program may not do that: nothing was put."""


class RemoteQueue(Protocol):
    """Creates no queue and repeats no call by itself. Besides the two errors above, every method raises `StorageError`
    where it is not known whether the call was carried out.
    """

    async def open(self) -> None:
        """Gets ready what the first call would wait for: the packages, and a token."""
        ...

    async def put(self, body: str, *, time_to_live_seconds: float) -> None:
        """The body is base64 on the queue. After its time to live the queue drops a message that nobody has received.

        Raises `ValueError` for more than `app.storage.queue.MAX_QUEUE_MESSAGE_BYTES`.
        """
        ...

    async def receive(self, max_messages: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        """As `app.storage.queue.MessageReceiver.receive`."""
        ...

    async def delete(self, receipt: Receipt) -> None:
        """Deletes nothing if the receipt is no longer valid."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...
