"""A turn that this worker has: its lease is renewed while it is worked on, and no other worker may answer it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from app.agent.events import Suspended
from app.common.caller import Caller
from app.resilience.retry import Backoff, retry
from app.storage.artifacts import ArtifactStore
from app.storage.conversations import StoredMessage
from app.storage.ledger import ConversationStore, TurnRecord, TurnState
from app.storage.queue import PopReceiptMismatchError, Queue, Receipt
from app.storage.storage_errors import ConcurrentUpdateError, StorageError
from app.turns.checkpoint import NO_CHECKPOINT, Checkpoint, Suspension, joined_text
from app.turns.checkpoint_storage import CheckpointStorage
from app.turns.queue_message import TurnMessage
from app.turns.reply import CheckpointError, LeaseLostError

if TYPE_CHECKING:
    from app.feedback.feedback_targets import FeedbackTargets

_log = logging.getLogger(__name__)

MAX_CHECKPOINT_CHARACTERS = 75_000
"""Characters that a row has room for beside its keys."""
LEASE_MARGIN_SECONDS = 1.0
"""A message becomes visible this long after its turn's lease has ended, so that its receiver finds the turn free."""
_MAX_JOURNAL_CHARACTERS = 20_000
_SAVE_TIMEOUT_SECONDS = 3.0
_MAX_HOLD_BACK_SECONDS = 60.0
_SAVE_RETRY_SECONDS = 0.5
_RELEASE_TIMEOUT_SECONDS = 4.0
_RENEWALS_PER_LEASE = 3
# By then the question has been acknowledged: without a message the channel does not bring it again.
_MISSING_MESSAGE_RETRY_SECONDS = 2.0
_MISSING_MESSAGE_BACKOFF = Backoff(0.5, longest_seconds=4.0)
_MISSING_MESSAGE_SECONDS = 30.0
_MAX_UPDATE_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class TurnBackend:
    """Where turns are kept. `clock` is in seconds since 1970; `feedback_targets` is called for the first answer that
    has some.
    """

    store: ConversationStore
    queue: Queue
    artifacts: ArtifactStore
    lease_seconds: float = 30.0
    clock: Callable[[], float] = time.time
    feedback_targets: Callable[[], FeedbackTargets] | None = None


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
        checkpoint: Checkpoint = NO_CHECKPOINT,
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
        self._saving = asyncio.Lock()
        self._renewals: asyncio.Task[None] | None = None
        self._when_lost: Callable[[], object] | None = None
        self._checkpoints = CheckpointStorage(backend.artifacts)
        self._checkpoint = checkpoint
        self._lost = False

    @property
    def record(self) -> TurnRecord:
        return self._record

    @property
    def checkpoint(self) -> Checkpoint:
        """The newest, whether or not it has been saved yet."""
        return self._checkpoint

    @property
    def message(self) -> TurnMessage | None:
        return self._message

    @property
    def message_inserted_at(self) -> float:
        """When its message was put on the queue for this attempt, by the queue's clock, in seconds since 1970; by ours
        where the queue has not taken it yet.
        """
        return (self._receipt.inserted_at if self._receipt else 0.0) or self._backend.clock()

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

    @property
    def is_on_queue(self) -> bool:
        """Whether that message is on the queue; storage that was busy gets it with a renewal."""
        return self._receipt is not None

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
        # What is the reply's; the rest stays as it is.
        self._checkpoint = replace(
            self._checkpoint, text=checkpoint.text, reply_state=checkpoint.reply_state, end=checkpoint.end
        )
        while True:
            try:
                # A newer one may have been saved since the last attempt: it includes this one.
                return await self._save_newest()
            except (StorageError, TimeoutError) as failure:
                if checkpoint.end is None:
                    raise CheckpointError from failure
                if self._backend.clock() > until:
                    _log.warning("The end of a turn is sent without a checkpoint (%s)", type(failure).__name__)
                    return None
            await asyncio.sleep(_SAVE_RETRY_SECONDS)

    async def load_journal(self) -> str | None:
        """None if its artifact is gone. Raises `StorageError`."""
        name = self._checkpoint.journal_artifact
        return await self._checkpoints.load_text(self._record.key, name) if name else self._checkpoint.journal

    async def save_journal(self, journal: str) -> None:
        """Raises `LeaseLostError` and `StorageError`."""
        before = self._checkpoint.journal_artifact
        try:
            if len(journal) > _MAX_JOURNAL_CHARACTERS:
                async with asyncio.timeout(_SAVE_TIMEOUT_SECONDS):
                    name = await self._checkpoints.save_text(self._record.key, journal)
                self._checkpoint = replace(self._checkpoint, journal="", journal_artifact=name)
            else:
                self._checkpoint = replace(self._checkpoint, journal=journal, journal_artifact="")
            await self._save_newest()
        except TimeoutError as error:
            raise StorageError("storage did not answer in time") from error
        await self._delete_artifact(before)

    async def close(self, state: TurnState, messages: Sequence[StoredMessage], *, result: str = "") -> None:
        """Raises `LeaseLostError`, and `StorageError`: then the lease is kept and renewed."""
        await self._end(self._record, state, messages, result)
        await self._delete_artifact(self._checkpoint.journal_artifact)
        with suppress(StorageError):
            await self._checkpoints.delete(self._record.key, self._record.checkpoint)

    async def suspend(self, end: Suspended, answered: str, asked_by: Caller) -> None:
        """Until somebody brings the decision. What was `answered` stands in a message of its own: the turn continues in
        another, with what its tools have answered. Raises as `close`.
        """
        assert self._message is not None
        suspension = Suspension(
            end.waiting_for, self._message.kind, self._message.traceparent, asked_by, end.expires_at
        )
        checkpoint = replace(
            self._checkpoint,
            text="",
            reply_state={},
            end=None,
            earlier_text=joined_text(self._checkpoint.earlier_text, answered),
            suspension=suspension,
        )
        room = MAX_CHECKPOINT_CHARACTERS - len(self._message.payload)
        row = await self._checkpoints.save(self._record.key, checkpoint, max_characters=room)
        suspended = replace(self._record, payload=self._message.payload, checkpoint=row)
        await self._end(suspended, TurnState.SUSPENDED, ())

    async def _end(
        self, record: TurnRecord, state: TurnState, messages: Sequence[StoredMessage], result: str = ""
    ) -> None:
        async with self._writing:
            for _ in range(_MAX_UPDATE_ATTEMPTS):
                try:
                    record = replace(record, version=self._record.version)
                    await self._backend.store.end(record, state, messages, result=result)
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
        if self._message is not None and self._receipt is None:
            await self._put_missing_message(after)
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT_SECONDS):
                attempt_count = self._record.attempt_count - (not counts_as_attempt)
                await self._update(lease_until=self._backend.clock() + after, attempt_count=attempt_count)
                await self._hide_message(after)
        except (StorageError, TimeoutError, LeaseLostError) as failure:
            _log.warning("The lease of a turn could not be released (%s); it expires", type(failure).__name__)

    async def _put_missing_message(self, after: float) -> None:
        """Without one no other worker finds the turn: this is worth waiting longer for storage."""

        async def put() -> None:
            await self._hide_message(after)

        try:
            async with asyncio.timeout(_MISSING_MESSAGE_SECONDS):
                await retry(put, _MISSING_MESSAGE_BACKOFF.after(StorageError))
        except (StorageError, TimeoutError) as failure:
            _log.error("A turn is left without a message on the queue (%s)", type(failure).__name__)

    async def _save_newest(self) -> None:
        key, room = self._record.key, MAX_CHECKPOINT_CHARACTERS - len(self._record.payload)
        # One after the other, so that an older checkpoint never replaces a newer one.
        async with asyncio.timeout(_SAVE_TIMEOUT_SECONDS), self._saving:
            before = self._record.checkpoint
            row = await self._checkpoints.save(key, self._checkpoint, max_characters=room)
            await self._update(checkpoint=row)
        with suppress(StorageError):
            await self._checkpoints.delete(key, before)

    async def _delete_artifact(self, name: str) -> None:
        """One that remains is deleted with its conversation."""
        if name:
            with suppress(StorageError):
                await self._checkpoints.delete_text(self._record.key, name)

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
