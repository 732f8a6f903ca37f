"""A turn that this worker has: it is renewed while it is worked on, and nobody else may say anything in it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Self

from app.storage.conversations import StoredMessage
from app.storage.ledger import ConcurrentUpdateError, Store, TurnRecord, TurnState
from app.storage.queue import PopReceiptMismatchError, Queue, Receipt
from app.storage.storage_errors import StorageError
from app.turns.checkpoint import Checkpoint, parse_checkpoint
from app.turns.queue_message import TurnMessage
from app.turns.reply import CheckpointError, LeaseLostError

_log = logging.getLogger(__name__)

# All in seconds.
MAX_CHECKPOINT_CHARACTERS = 75_000
"""Characters that a row holds beside its keys."""
LEASE_MARGIN_SECONDS = 1.0
"""A message appears this much after its turn's lease has ended, so that whoever takes it finds it so."""
_LONGEST_KEEPING = 3.0
_LONGEST_HOLDING_BACK = 60.0
_BETWEEN_TRIES = 0.5
_LONGEST_GIVING_BACK = 4.0
_RENEWALS_IN_A_LEASE = 3
_WITHOUT_A_MESSAGE = 2.0
"""Until the next try to put one: by then the question has been acknowledged, and nobody else brings it back."""
_TRIES = 5


@dataclass(frozen=True, slots=True)
class TurnBackend:
    """Where turns are kept. `lease` and `clock` in seconds, the clock's since 1970."""

    store: Store
    queue: Queue
    lease: float = 30.0
    clock: Callable[[], float] = time.time


class TurnLease:
    """As a context it renews its lease; `when_lost` is called when another worker has taken it.

    `has_predecessor`: it has to be started. `starts_after`, in seconds since 1970: not before, though no earlier turn
    be open.
    """

    def __init__(
        self,
        shelf: TurnBackend,
        record: TurnRecord,
        turn_message: TurnMessage | None,
        receipt: Receipt | None,
        *,
        history: Sequence[StoredMessage] | None = None,
        has_predecessor: bool = True,
    ) -> None:
        self._shelf = shelf
        self._record = record
        self._turn_message = turn_message
        self._receipt = receipt
        self._writing = asyncio.Lock()
        self._renewals: asyncio.Task[None] | None = None
        self._when_lease_lost: Callable[[], object] | None = None
        self._newest = Checkpoint()
        self.history = history
        self.has_predecessor = has_predecessor
        self.starts_after = 0.0
        self.lost = False

    @property
    def record(self) -> TurnRecord:
        return self._record

    @property
    def progress(self) -> Checkpoint:
        return parse_checkpoint(self._record.checkpoint)

    @property
    def turn_message(self) -> TurnMessage | None:
        return self._turn_message

    @property
    def can_be_resumed(self) -> bool:
        return self._turn_message is not None

    def when_lease_lost(self, stop: Callable[[], object]) -> None:
        self._when_lease_lost = stop

    async def __aenter__(self) -> Self:
        self._renewals = asyncio.create_task(self._renew())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end_renewals()

    async def keep(self, progress: Checkpoint) -> None:
        """Raises `LeaseLostError`, and `CheckpointError` before the end.

        The end is held back until storage says that the turn is still ours; a minute after the lease has ended it is
        said all the same.
        """
        until = self._record.lease_until + _LONGEST_HOLDING_BACK
        self._newest = progress
        while True:
            # Another may have been written since the last try: it holds all that this one does.
            checkpoint = self._newest.written(MAX_CHECKPOINT_CHARACTERS - len(self._record.payload))
            try:
                async with asyncio.timeout(_LONGEST_KEEPING):
                    return await self._change(checkpoint=checkpoint)
            except (StorageError, TimeoutError) as failure:
                if progress.end is None:
                    raise CheckpointError from failure
                if self._shelf.clock() > until:
                    _log.warning("The end of a turn is said without being kept (%s)", type(failure).__name__)
                    return None
            await asyncio.sleep(_BETWEEN_TRIES)

    async def close(self, state: TurnState, messages: Sequence[StoredMessage]) -> None:
        """Raises `LeaseLostError`, and `StorageError`: then the turn is still ours, and renewed."""
        async with self._writing:
            for _ in range(_TRIES):
                try:
                    await self._shelf.store.end(self._record, state, messages)
                    break
                except ConcurrentUpdateError:
                    await self._read_again()
            else:
                raise StorageError("the row of the turn was always changed by others")
            if self._renewals is not None:
                # One that waits for its turn to write would find the row closed, and take it for lost.
                self._renewals.cancel()
        await self._end_renewals()
        await self._delete_message()

    async def release(self, *, after: float = 0.0, counts: bool = False) -> None:
        """Another worker may have the turn in `after` seconds; `counts` says whether this was one of its tries."""
        await self._end_renewals()
        try:
            async with asyncio.timeout(_LONGEST_GIVING_BACK):
                attempt_count = self._record.attempt_count if counts else self._record.attempt_count - 1
                await self._change(lease_until=self._shelf.clock() + after, attempt_count=attempt_count)
                await self._hide_message(after)
        except (StorageError, TimeoutError, LeaseLostError) as failure:
            _log.warning("A turn could not be given back (%s); its lease ends by itself", type(failure).__name__)

    async def leave(self) -> None:
        """To whoever finds it, without a message of its own: the one that brought it comes again."""
        self._turn_message = None
        await self.release()
        await self._delete_message()

    async def _change(self, **fields: object) -> None:
        async with self._writing:
            for _ in range(_TRIES):
                try:
                    self._record = await self._shelf.store.change(self._record.changed(**fields))  # type: ignore[arg-type]
                    return
                except ConcurrentUpdateError:
                    await self._read_again()
            raise StorageError("the row of the turn was always changed by others")

    async def _read_again(self) -> None:
        """A write of ours whose answer was lost is no loss of the turn."""
        found = await self._shelf.store.find(self._record.key)
        if found is not None and found.owner == self._record.owner and found.state is not TurnState.STARTED:
            # Closed by ourselves, and the answer was lost: whoever closes it finds it so.
            raise LeaseLostError
        if found is None or found.owner != self._record.owner:
            self.lost = True
            if self._when_lease_lost is not None:
                self._when_lease_lost()
            raise LeaseLostError
        self._record = replace(self._record, version=found.version)

    async def _renew(self) -> None:
        while True:
            between = self._shelf.lease / _RENEWALS_IN_A_LEASE
            if self._receipt is None and self._turn_message is not None:
                between = min(between, _WITHOUT_A_MESSAGE)
            await asyncio.sleep(between)
            try:
                await self._change(lease_until=self._shelf.clock() + self._shelf.lease)
                await self._hide_message(self._shelf.lease + LEASE_MARGIN_SECONDS)
            except LeaseLostError:
                return
            except StorageError as failure:
                _log.warning("The lease of a turn could not be renewed (%s)", type(failure).__name__)

    async def _end_renewals(self) -> None:
        if self._renewals is not None:
            self._renewals.cancel()
            await asyncio.wait([self._renewals])
            self._renewals = None

    async def _hide_message(self, seconds: float) -> None:
        if self._turn_message is None:
            return
        if self._receipt is not None:
            try:
                self._receipt = await self._shelf.queue.update_visibility(self._receipt, visibility_timeout=seconds)
                return
            except PopReceiptMismatchError:
                self._receipt = None
        self._receipt = await self._shelf.queue.put(self._turn_message.written(), visibility_timeout=seconds)

    async def _delete_message(self) -> None:
        """One that stays does no harm: whoever takes it finds the turn closed."""
        if self._receipt is not None:
            with suppress(PopReceiptMismatchError, StorageError):
                await self._shelf.queue.delete(self._receipt)
