"""A turn that this worker has: its lease is renewed while it is worked on, and no other worker may answer it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Self

from app.storage.conversations import StoredMessage
from app.storage.ledger import ConversationStore, TurnRecord, TurnState
from app.storage.queue import PopReceiptMismatchError, Queue, Receipt
from app.storage.storage_errors import ConcurrentUpdateError, StorageError
from app.turns.checkpoint import Checkpoint
from app.turns.queue_message import TurnMessage
from app.turns.reply import CheckpointError, LeaseLostError

_log = logging.getLogger(__name__)

MAX_CHECKPOINT_CHARACTERS = 75_000
"""Characters that a row has room for beside its keys."""
LEASE_MARGIN_SECONDS = 1.0
"""A message becomes visible this long after its turn's lease has ended, so that its receiver finds the turn free."""
_SAVE_TIMEOUT_SECONDS = 3.0
_MAX_HOLD_BACK_SECONDS = 60.0
_SAVE_RETRY_SECONDS = 0.5
_RELEASE_TIMEOUT_SECONDS = 4.0
_RENEWALS_PER_LEASE = 3
# By then the question has been acknowledged: without a message the channel does not bring it again.
_MISSING_MESSAGE_RETRY_SECONDS = 2.0
_MAX_UPDATE_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class TurnBackend:
    """Where turns are kept. `clock` is in seconds since 1970."""

    store: ConversationStore
    queue: Queue
    lease_seconds: float = 30.0
    clock: Callable[[], float] = time.time


class TurnLease:
    """As a context manager it renews the lease; `when_lost` is called when another worker has claimed the turn.

    `has_predecessor`: the turn has to wait until it is started. `starts_after`, in seconds since 1970: not before, even
    if no earlier turn is open. `history` is what was said before, if that is known already.
    """

    def __init__(
        self,
        backend: TurnBackend,
        record: TurnRecord,
        message: TurnMessage | None,
        receipt: Receipt | None,
        *,
        history: Sequence[StoredMessage] | None = None,
        has_predecessor: bool = True,
        starts_after: float = 0.0,
    ) -> None:
        self._backend = backend
        self._record = record
        self._message = message
        self._receipt = receipt
        self._history = history
        self._has_predecessor = has_predecessor
        self._starts_after = starts_after
        self._writing = asyncio.Lock()
        self._renewals: asyncio.Task[None] | None = None
        self._when_lost: Callable[[], object] | None = None
        self._newest = Checkpoint()
        self._lost = False

    @property
    def record(self) -> TurnRecord:
        return self._record

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint.from_json(self._record.checkpoint)

    @property
    def message(self) -> TurnMessage | None:
        return self._message

    @property
    def history(self) -> Sequence[StoredMessage] | None:
        return self._history

    @property
    def has_predecessor(self) -> bool:
        return self._has_predecessor

    @property
    def starts_after(self) -> float:
        return self._starts_after

    @property
    def lost(self) -> bool:
        return self._lost

    @property
    def can_be_resumed(self) -> bool:
        """Whether another worker can continue the turn: it needs a message."""
        return self._message is not None

    def when_lost(self, callback: Callable[[], object]) -> None:
        self._when_lost = callback

    async def __aenter__(self) -> Self:
        self._renewals = asyncio.create_task(self._renew())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_renewals()

    async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Raises `LeaseLostError`, and `CheckpointError` before the end.

        The end is held back until storage confirms that the turn is still this worker's; a minute after the lease has
        ended it is sent without that.
        """
        until = self._record.lease_until + _MAX_HOLD_BACK_SECONDS
        self._newest = checkpoint
        while True:
            # A newer one may have been saved since the last attempt: it includes this one.
            checkpoint_json = self._newest.to_json(MAX_CHECKPOINT_CHARACTERS - len(self._record.payload))
            try:
                async with asyncio.timeout(_SAVE_TIMEOUT_SECONDS):
                    return await self._update(checkpoint=checkpoint_json)
            except (StorageError, TimeoutError) as failure:
                if checkpoint.end is None:
                    raise CheckpointError from failure
                if self._backend.clock() > until:
                    _log.warning("The end of a turn is sent without a checkpoint (%s)", type(failure).__name__)
                    return None
            await asyncio.sleep(_SAVE_RETRY_SECONDS)

    async def close(self, state: TurnState, messages: Sequence[StoredMessage]) -> None:
        """Raises `LeaseLostError`, and `StorageError`: then the lease is kept and renewed."""
        async with self._writing:
            for _ in range(_MAX_UPDATE_ATTEMPTS):
                try:
                    await self._backend.store.end(self._record, state, messages)
                    break
                except ConcurrentUpdateError:
                    await self._read_again()
            else:
                raise StorageError("the row of the turn was changed by others each time")
            if self._renewals is not None:
                # A renewal that waits for the lock would find the row closed, and take the lease for lost.
                self._renewals.cancel()
        await self._stop_renewals()
        await self._delete_message()

    async def release(self, *, after: float = 0.0, counts_as_attempt: bool = False) -> None:
        """Another worker may claim the turn in `after` seconds."""
        await self._stop_renewals()
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT_SECONDS):
                attempt_count = self._record.attempt_count - (not counts_as_attempt)
                await self._update(lease_until=self._backend.clock() + after, attempt_count=attempt_count)
                await self._hide_message(after)
        except (StorageError, TimeoutError, LeaseLostError) as failure:
            _log.warning("The lease of a turn could not be released (%s); it expires", type(failure).__name__)

    async def _update(self, **fields: object) -> None:
        async with self._writing:
            for _ in range(_MAX_UPDATE_ATTEMPTS):
                try:
                    self._record = await self._backend.store.change(self._record.changed(**fields))  # type: ignore[arg-type]
                    return
                except ConcurrentUpdateError:
                    await self._read_again()
            raise StorageError("the row of the turn was changed by others each time")

    async def _read_again(self) -> None:
        """A write of our own whose answer was lost does not mean that the lease is lost."""
        found = await self._backend.store.find(self._record.key)
        if found is not None and found.owner == self._record.owner and found.state is not TurnState.STARTED:
            # Closed by this worker, and the answer was lost: the next `close` finds it closed.
            raise LeaseLostError
        if found is None or found.owner != self._record.owner:
            self._lost = True
            if self._when_lost is not None:
                self._when_lost()
            raise LeaseLostError
        self._record = replace(self._record, version=found.version)

    async def _renew(self) -> None:
        lease_seconds = self._backend.lease_seconds
        while True:
            interval = lease_seconds / _RENEWALS_PER_LEASE
            if self._receipt is None and self._message is not None:
                interval = min(interval, _MISSING_MESSAGE_RETRY_SECONDS)
            await asyncio.sleep(interval)
            try:
                await self._update(lease_until=self._backend.clock() + lease_seconds)
                await self._hide_message(lease_seconds + LEASE_MARGIN_SECONDS)
            except LeaseLostError:
                return
            except StorageError as failure:
                _log.warning("The lease of a turn could not be renewed (%s)", type(failure).__name__)

    async def _stop_renewals(self) -> None:
        if self._renewals is not None:
            self._renewals.cancel()
            await asyncio.wait([self._renewals])
            self._renewals = None

    async def _hide_message(self, seconds: float) -> None:
        if self._message is None:
            return
        if self._receipt is not None:
            try:
                self._receipt = await self._backend.queue.update_visibility(self._receipt, visibility_timeout=seconds)
                return
            except PopReceiptMismatchError:
                self._receipt = None
        self._receipt = await self._backend.queue.put(self._message.to_json(), visibility_timeout=seconds)

    async def _delete_message(self) -> None:
        """One that remains does no harm: its receiver finds the turn closed."""
        if self._receipt is not None:
            with suppress(PopReceiptMismatchError, StorageError):
                await self._backend.queue.delete(self._receipt)
