"""Where a turn is entered once, and claimed by another worker when its own is gone."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from app.agent.history import MAX_HISTORY_MESSAGES
from app.common.keyed_locks import KeyedLocks
from app.storage.ledger import BeginResult, TurnKey, TurnRecord, TurnState
from app.storage.queue import PopReceiptMismatchError, Receipt
from app.storage.storage_errors import ConcurrentUpdateError, StorageError
from app.telemetry.turn_span import hand_over_missing
from app.turns.checkpoint import Checkpoint, Suspension
from app.turns.checkpoint_storage import CheckpointStorage
from app.turns.lease import LEASE_MARGIN_SECONDS, MAX_CHECKPOINT_CHARACTERS, TurnBackend, TurnLease
from app.turns.predecessors import REQUEUE_SECONDS, Predecessors
from app.turns.queue_message import TurnMessage
from app.turns.stall_timer import NOT_STALLED

_log = logging.getLogger(__name__)

_ENTER_TIMEOUT_SECONDS = 10.0
_PUT_TIMEOUT_SECONDS = 5.0
# A message that somebody receives before its turn is open is dropped.
_RESUME_MARGIN_SECONDS = 20.0
_STALE_MESSAGE_SECONDS = 12 * 3600.0
# After storage was slow: a question that was asked before, at another worker, is entered within a second of this one.
_DELAYED_START_SECONDS = 2.0

RequestT = TypeVar("RequestT")
DecodeRequest = Callable[[str], RequestT]
"""Reads a message's payload. Raises `app.turns.queue_message.UnreadableMessageError`."""


@dataclass(frozen=True, slots=True)
class ClaimedTurn(Generic[RequestT]):
    lease: TurnLease
    request: RequestT


@dataclass(frozen=True, slots=True)
class WaitingTurn(Generic[RequestT]):
    """The turn has to wait for an earlier one, and has been put on the queue again."""

    request: RequestT


class TurnClaims:
    def __init__(self, backend: TurnBackend) -> None:
        self._backend = backend
        self._checkpoints = CheckpointStorage(backend.artifacts)
        self.predecessors = Predecessors(backend)
        self._arrivals = KeyedLocks()

    async def enter(
        self, key: TurnKey, message: TurnMessage | None, *, asked_at: float | None = None, waits: bool = False
    ) -> TurnLease | None:
        """None for a turn that has been entered before. Raises `StorageError` if that is not known.

        Without `message` no other worker can continue the turn: its caller has to ask again. `asked_at` is used only
        then. A turn that `waits` starts two seconds later at the earliest: an earlier question that comes to another
        worker at the same time is in the ledger by then.
        """
        try:
            # Whatever arrived before at this worker has been entered by then, or never will be.
            async with asyncio.timeout(_ENTER_TIMEOUT_SECONDS), self._arrivals.of(key.conversation):
                return await self._enter(key, message, asked_at if message is None else message.asked_at, waits)
        except TimeoutError as error:
            raise StorageError("storage did not answer in time") from error

    async def claim(
        self, message: TurnMessage, decode: DecodeRequest[RequestT]
    ) -> ClaimedTurn[RequestT] | WaitingTurn[RequestT] | None:
        """None for a turn that is closed, or that another worker has.

        What cannot be decoded is not claimed. Raises `StorageError`, and what `decode` raises.
        """
        now = self._backend.clock()
        found = await self._backend.store.find(message.key)
        if found is None:
            return await self._enter_from_queue(message, decode)
        if found.state is not TurnState.STARTED:
            _log.info("A turn on the queue is closed already (%s); its message is dropped", found.state)
            return None
        if found.lease_until > now:
            await self._requeue(message, after=found.lease_until - now + LEASE_MARGIN_SECONDS)
            return None
        message = replace(message, payload=message.payload or found.payload)
        request = decode(message.payload)
        checkpoint = await self._checkpoints.load(found.key, found.checkpoint)
        # An end that has been saved is sent at once: its turn has had its place.
        waits_for = None if checkpoint.end else await self.predecessors.check(found, message)
        if waits_for is not None:
            # A function that waited here would occupy the worker that the earlier turn needs.
            await self._requeue(replace(message, stall_timer=waits_for), after=REQUEUE_SECONDS)
            return WaitingTurn(request)
        lease = await self._claim_expired(found, replace(message, stall_timer=NOT_STALLED), checkpoint)
        return None if lease is None else ClaimedTurn(lease, request)

    async def find_suspension(self, key: TurnKey) -> Suspension | None:
        """Raises `StorageError`."""
        found = await self._backend.store.find(key)
        if found is None or found.state is not TurnState.SUSPENDED:
            return None
        return (await self._checkpoints.load(key, found.checkpoint)).suspension

    async def resume_suspended(self, key: TurnKey, waiting_for: str, *, approved: bool) -> bool:
        """Puts the turn on the queue with the decision; False if it does not wait for that any more.

        To be called again if it did not return. Raises `StorageError`.
        """
        found = await self._backend.store.find(key)
        if found is None or found.state is not TurnState.SUSPENDED:
            return False
        checkpoint = await self._checkpoints.load(key, found.checkpoint)
        suspension = checkpoint.suspension
        if suspension is None or suspension.waiting_for != waiting_for:
            return False
        now = self._backend.clock()
        message = TurnMessage(key, now, found.payload, suspension.traceparent, kind=suspension.kind)
        approvals = {**checkpoint.approvals, waiting_for: approved}
        row = await self._checkpoints.save(
            key,
            replace(checkpoint, approvals=approvals, suspension=None),
            max_characters=MAX_CHECKPOINT_CHARACTERS - len(found.payload),
        )
        # Before the row: with its message a turn that is open is never lost, and one that is not drops it.
        receipt = await self._requeue(message, after=_RESUME_MARGIN_SECONDS)
        resumed = replace(
            self._new_record(key, now, found.payload),
            lease_until=now,
            attempt_count=0,
            checkpoint=row,
            version=found.version,
        )
        if await self._backend.store.begin(resumed, history_limit=0) is None:
            await self._delete_message(receipt)
            return False
        await self._show(receipt, message)
        return True

    async def _show(self, receipt: Receipt, message: TurnMessage) -> None:
        try:
            await self._backend.queue.update_visibility(receipt, visibility_timeout=0)
        except PopReceiptMismatchError:
            # It was received, and perhaps dropped, before the turn was open.
            await self._requeue(message, after=0)
        except StorageError as failure:
            _log.warning("A resumed turn waits until its message appears (%s)", type(failure).__name__)

    async def _enter_from_queue(
        self, message: TurnMessage, decode: DecodeRequest[RequestT]
    ) -> ClaimedTurn[RequestT] | WaitingTurn[RequestT] | None:
        """A turn whose worker was gone before it was entered."""
        if self._backend.clock() - message.asked_at > _STALE_MESSAGE_SECONDS:
            _log.warning("A turn on the queue is older than the ledger's rows; it is dropped")
            return None
        request = decode(message.payload)
        lease = await self.enter(message.key, message)
        if lease is None:
            return None
        if lease.has_predecessor:
            await lease.release(after=REQUEUE_SECONDS)
            return WaitingTurn(request)
        return ClaimedTurn(lease, request)

    async def _claim_expired(self, found: TurnRecord, message: TurnMessage, checkpoint: Checkpoint) -> TurnLease | None:
        # Before the turn is claimed: if this worker vanishes too, there is a message.
        receipt = await self._requeue(message, after=self._backend.lease_seconds + LEASE_MARGIN_SECONDS)
        try:
            # It has been started: no turn gets a place before it any more.
            lease = await self._claim_row(found, message, receipt, checkpoint, has_predecessor=False)
            if lease is None:
                await self._delete_if_reclaimed(found, receipt)
        except StorageError as failure:
            _log.warning("A turn could not be claimed (%s); its message is on the queue", type(failure).__name__)
            return None
        return lease

    async def _requeue(self, message: TurnMessage, *, after: float) -> Receipt:
        return await self._backend.queue.put(message.to_json(), visibility_timeout=after)

    async def _enter(
        self, key: TurnKey, message: TurnMessage | None, asked_at: float | None, waits: bool
    ) -> TurnLease | None:
        payload = "" if message is None or message.has_room_for_payload else message.payload
        beginning = self._backend.store.begin(
            self._new_record(key, asked_at, payload), history_limit=MAX_HISTORY_MESSAGES, waits=waits
        )
        if message is None:
            entered, receipt = await beginning, None
        elif payload:
            # What only the ledger holds has to be there before the message.
            entered = await beginning
            receipt = await self._put_message(message)
        else:
            entered, receipt = await self._begin_and_put(beginning, message)
        if entered is None:
            return await self._claim_repeated(key, message, receipt)
        return TurnLease(
            self._backend,
            entered.record,
            message,
            receipt,
            history=entered.history,
            has_predecessor=entered.has_predecessor,
            starts_after=self._backend.clock() + _DELAYED_START_SECONDS if entered.delayed else 0.0,
        )

    async def _begin_and_put(
        self, beginning: Coroutine[Any, Any, BeginResult | None], message: TurnMessage
    ) -> tuple[BeginResult | None, Receipt | None]:
        entered, receipt = await asyncio.gather(beginning, self._put_message(message), return_exceptions=True)
        if isinstance(entered, BaseException):
            await self._delete_message(receipt if isinstance(receipt, Receipt) else None)
            raise entered
        if isinstance(receipt, BaseException):
            raise receipt
        return entered, receipt

    async def _claim_repeated(
        self, key: TurnKey, message: TurnMessage | None, receipt: Receipt | None
    ) -> TurnLease | None:
        """Claims the turn if its worker is gone. The message of an open turn stays: it may be the only one."""
        found = await self._backend.store.find(key)
        if found is None or found.state is not TurnState.STARTED:
            await self._delete_message(receipt)
            return None
        if found.lease_until > self._backend.clock():
            return None
        checkpoint = await self._checkpoints.load(key, found.checkpoint)
        return await self._claim_row(found, message, receipt, checkpoint)

    async def _claim_row(
        self,
        found: TurnRecord,
        message: TurnMessage | None,
        receipt: Receipt | None,
        checkpoint: Checkpoint,
        *,
        has_predecessor: bool = True,
    ) -> TurnLease | None:
        """None if another worker was faster."""
        lease_until = self._backend.clock() + self._backend.lease_seconds
        try:
            record = await self._backend.store.change(
                found.changed(owner=uuid.uuid4().hex, lease_until=lease_until, attempt_count=found.attempt_count + 1)
            )
        except ConcurrentUpdateError:
            return None
        return TurnLease(
            self._backend, record, message, receipt, checkpoint=checkpoint, has_predecessor=has_predecessor
        )

    async def _delete_if_reclaimed(self, before: TurnRecord, receipt: Receipt) -> None:
        """Another worker claimed the turn, or its owner's last renewal won: then the owner may be gone, and the message
        stays.
        """
        found = await self._backend.store.find(before.key)
        if found is None or found.state is not TurnState.STARTED or found.owner != before.owner:
            await self._delete_message(receipt)

    def _new_record(self, key: TurnKey, asked_at: float | None, payload: str) -> TurnRecord:
        now = self._backend.clock()
        ticket = round((now if asked_at is None else asked_at) * 1000)
        lease_until = now + self._backend.lease_seconds
        return TurnRecord(key, ticket, TurnState.STARTED, uuid.uuid4().hex, lease_until, payload=payload)

    async def _put_message(self, message: TurnMessage) -> Receipt | None:
        try:
            async with asyncio.timeout(_PUT_TIMEOUT_SECONDS):
                return await self._requeue(message, after=self._backend.lease_seconds + LEASE_MARGIN_SECONDS)
        except (StorageError, TimeoutError) as failure:
            _log.warning("A turn has no message on the queue yet (%s)", type(failure).__name__)
            hand_over_missing(failure)
            return None

    async def _delete_message(self, receipt: Receipt | None) -> None:
        if receipt is not None:
            with suppress(StorageError, PopReceiptMismatchError):
                await self._backend.queue.delete(receipt)
