"""Where a turn is entered once, and where another worker takes it over when its own is gone."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from app.agent.history import MAX_HISTORY_MESSAGES
from app.storage.ledger import BeginResult, ConcurrentUpdateError, Predecessor, TurnKey, TurnRecord, TurnState
from app.storage.queue import PopReceiptMismatchError, Receipt
from app.storage.storage_errors import StorageError
from app.telemetry.turn_span import hand_over_missing
from app.turns.checkpoint import parse_checkpoint
from app.turns.lease import LEASE_MARGIN_SECONDS, TurnBackend, TurnLease
from app.turns.ordering import ArrivalLocks, TurnCompletionEvents
from app.turns.queue_message import TurnMessage
from app.turns.stall_timer import NOT_STALLED, StallTimer

_log = logging.getLogger(__name__)

# All in seconds.
_LONGEST_ENTERING = 10.0
_LONGEST_PUTTING = 5.0
_FIRST_LOOK = 0.25
_LONGEST_BETWEEN_LOOKS = 2.0
_NO_SIGN_OF_LIFE = 30.0
_LONG_AGO = 3600.0
_ON_THE_QUEUE_AGAIN = 3.0
_STALE_MESSAGE_SECONDS = 12 * 3600.0
# After storage did not answer: one that was asked before, at another worker, is tried again within a second.
_SETTLING = 2.0
_OPEN = TurnState.STARTED


class TurnClaims:
    def __init__(self, shelf: TurnBackend) -> None:
        self._shelf = shelf
        self._arrivals = ArrivalLocks()
        self._endings = TurnCompletionEvents()

    async def enter(
        self, key: TurnKey, turn_message: TurnMessage | None, *, asked_at: float | None = None
    ) -> TurnLease | None:
        """None for a turn that has been entered before. Raises `StorageError` if nobody knows.

        Without `turn_message` nobody goes on with it: its caller has to ask again. `asked_at` is needed without one
        alone.
        """
        try:
            # One that came before, at this worker, is in the ledger or will never be.
            async with asyncio.timeout(_LONGEST_ENTERING), self._arrivals.of(key.conversation):
                return await self._enter(key, turn_message, asked_at if turn_message is None else turn_message.asked_at)
        except TimeoutError as error:
            raise StorageError("storage did not answer in time") from error

    async def _enter(self, key: TurnKey, turn_message: TurnMessage | None, asked_at: float | None) -> TurnLease | None:
        record = self._record(key, asked_at, "" if turn_message is None or turn_message.fits else turn_message.payload)
        beginning = self._shelf.store.begin(record, remember=MAX_HISTORY_MESSAGES)
        if turn_message is None:
            payload, receipt = await beginning, None
        elif record.payload:
            # What is in the ledger alone has to be there before the message.
            payload = await beginning
            receipt = await self._put(turn_message, self._shelf.lease + LEASE_MARGIN_SECONDS)
        else:
            payload, receipt = await self._begin_and_put(beginning, turn_message)
        if payload is None:
            return await self._repeated(key, turn_message, receipt)
        held = TurnLease(
            self._shelf,
            payload.record,
            turn_message,
            receipt,
            history=payload.history,
            has_predecessor=payload.has_predecessor,
        )
        if payload.delayed:
            held.starts_after = self._shelf.clock() + _SETTLING
        return held

    async def _begin_and_put(
        self, beginning: Coroutine[Any, Any, BeginResult | None], turn_message: TurnMessage
    ) -> tuple[BeginResult | None, Receipt | None]:
        async with asyncio.TaskGroup() as group:
            payload = group.create_task(_outcome(beginning))
            receipt = group.create_task(self._put(turn_message, self._shelf.lease + LEASE_MARGIN_SECONDS))
        result = payload.result()
        if isinstance(result, Exception):
            await self._take_back(receipt.result())
            raise result
        return result, receipt.result()

    async def _repeated(
        self, key: TurnKey, turn_message: TurnMessage | None, receipt: Receipt | None
    ) -> TurnLease | None:
        """Takes it where whoever had it is gone. The message of an open turn stays: it may be the only one."""
        found = await self._shelf.store.find(key)
        if found is None or found.state is not _OPEN:
            await self._take_back(receipt)
            return None
        if found.lease_until > self._shelf.clock():
            return None
        return await self._take(found, turn_message, receipt)

    async def claim(
        self, turn_message: TurnMessage, *, has_predecessor: Callable[[str], object] = lambda _: None
    ) -> TurnLease | None:
        """None for a turn that is closed, that somebody works on, or that has gone back to the queue because it has to
        wait for an earlier one: then `has_predecessor` is called with what it begins with. Raises `StorageError`.
        """
        now = self._shelf.clock()
        found = await self._shelf.store.find(turn_message.key)
        if found is None:
            if now - turn_message.asked_at > _STALE_MESSAGE_SECONDS:
                _log.warning("A turn on the queue is too old to be known any more; it is dropped")
                return None
            # Its worker went away before it was entered.
            return await self._unless_it_waits(await self.enter(turn_message.key, turn_message), has_predecessor)
        if found.state is not _OPEN:
            _log.info("A turn on the queue is closed already (%s); its message is dropped", found.state)
            return None
        if found.lease_until > now:
            await self._shelf.queue.put(
                turn_message.written(), visibility_timeout=found.lease_until - now + LEASE_MARGIN_SECONDS
            )
            return None
        watch = await self._behind(found, turn_message)
        if watch is not None:
            # A function that waits would take the place of the turn that is waited for.
            await self._shelf.queue.put(
                replace(turn_message, watch=watch).written(), visibility_timeout=_ON_THE_QUEUE_AGAIN
            )
            has_predecessor(turn_message.payload or found.payload)
            return None
        whole = TurnMessage(
            turn_message.key, turn_message.asked_at, turn_message.payload or found.payload, turn_message.traceparent
        )
        # Before the turn is ours: if this worker goes away too, its message is there.
        receipt = await self._shelf.queue.put(
            turn_message.written(), visibility_timeout=self._shelf.lease + LEASE_MARGIN_SECONDS
        )
        try:
            held = await self._take(found, whole, receipt)
            if held is None:
                await self._delete_if_reclaimed(found, receipt)
        except StorageError as failure:
            _log.warning("A turn could not be taken over (%s); its message is there", type(failure).__name__)
            return None
        if held is not None:
            # Who has none before it never gets one.
            held.has_predecessor = False
        return held

    async def _unless_it_waits(
        self, held: TurnLease | None, has_predecessor: Callable[[str], object]
    ) -> TurnLease | None:
        if held is None or not held.has_predecessor:
            return held
        await held.release(after=_ON_THE_QUEUE_AGAIN)
        if held.turn_message is not None:
            has_predecessor(held.turn_message.payload)
        return None

    async def _behind(self, found: TurnRecord, turn_message: TurnMessage) -> StallTimer | None:
        """What is seen of the turn it waits for; None where there is none, or where only the end is to be said."""
        since = _oldest_waited_for(turn_message.asked_at)
        if parse_checkpoint(found.checkpoint).end is not None:
            return None
        if not found.lease_until:
            # It was passed by: those that went before it have its place, and one of them may be streaming.
            found = replace(found, ticket=max(found.ticket, round(self._shelf.clock() * 1000)))
        ahead = await self._shelf.store.start(found, since=since)
        if ahead is None:
            return None
        watch = turn_message.watch.seen(ahead, now=self._shelf.clock(), after=_ON_THE_QUEUE_AGAIN)
        if watch.stalled_for_seconds <= self._patience:
            return watch
        # That one and no other: the next may be waiting as this one does.
        await self._shelf.store.skip(found, ahead)
        return None if await self._shelf.store.start(found, since=since) is None else NOT_STALLED

    @property
    def _patience(self) -> float:
        return _NO_SIGN_OF_LIFE + self._shelf.lease

    async def _delete_if_reclaimed(self, before: TurnRecord, receipt: Receipt) -> None:
        """Another worker was faster; or the one that is gone was, with its last renewal, and then nobody has it."""
        found = await self._shelf.store.find(before.key)
        if found is None or found.state is not _OPEN or found.owner != before.owner:
            await self._take_back(receipt)

    async def _take(
        self, found: TurnRecord, turn_message: TurnMessage | None, receipt: Receipt | None
    ) -> TurnLease | None:
        lease_until = self._shelf.clock() + self._shelf.lease
        try:
            record = await self._shelf.store.change(
                found.changed(owner=uuid.uuid4().hex, lease_until=lease_until, attempt_count=found.attempt_count + 1)
            )
        except ConcurrentUpdateError:
            return None
        return TurnLease(self._shelf, record, turn_message, receipt)

    async def wait_for_predecessors(self, held: TurnLease) -> Predecessor | None:
        """None once no earlier turn is left to wait for; else the one that shows no sign of life, and that whoever had
        it has lost.
        """
        await asyncio.sleep(max(0.0, held.starts_after - self._shelf.clock()))
        watch, waited, between = NOT_STALLED, 0.0, _FIRST_LOOK
        since = _oldest_waited_for(self._shelf.clock())
        while True:
            try:
                ahead = await self._shelf.store.start(held.record, since=since)
            except StorageError as failure:
                _log.warning("Whether an earlier turn is open is not known (%s)", type(failure).__name__)
            else:
                if ahead is None:
                    return None
                watch = watch.seen(ahead, now=self._shelf.clock(), after=waited)
                if watch.stalled_for_seconds > self._patience:
                    return ahead
            began = self._shelf.clock()
            await self._endings.next(held.record.key.conversation, within=between)
            waited, between = self._shelf.clock() - began, min(between * 1.5, _LONGEST_BETWEEN_LOOKS)

    async def skip(self, held: TurnLease, lost: Predecessor) -> None:
        """None waits for it any more, until somebody takes it over."""
        with suppress(StorageError):
            await self._shelf.store.skip(held.record, lost)

    def ended(self, held: TurnLease) -> None:
        self._endings.ended(held.record.key.conversation)

    def _record(self, key: TurnKey, asked_at: float | None, payload: str) -> TurnRecord:
        now = self._shelf.clock()
        ticket = round((now if asked_at is None else asked_at) * 1000)
        return TurnRecord(key, ticket, _OPEN, uuid.uuid4().hex, now + self._shelf.lease, payload=payload)

    async def _put(self, turn_message: TurnMessage, seconds: float) -> Receipt | None:
        try:
            async with asyncio.timeout(_LONGEST_PUTTING):
                return await self._shelf.queue.put(turn_message.written(), visibility_timeout=seconds)
        except (StorageError, TimeoutError) as failure:
            _log.warning("A turn has no message on the queue yet (%s)", type(failure).__name__)
            hand_over_missing(failure)
            return None

    async def _take_back(self, receipt: Receipt | None) -> None:
        if receipt is not None:
            with suppress(StorageError, PopReceiptMismatchError):
                await self._shelf.queue.delete(receipt)


def _oldest_waited_for(asked: float) -> float:
    """Leases that ended before this are not waited for: what a long outage has left open keeps its own order, and holds
    up nothing that was asked after it.
    """
    return max(0.0, asked - _LONG_AGO)


async def _outcome(beginning: Coroutine[Any, Any, BeginResult | None]) -> BeginResult | Exception | None:
    try:
        return await beginning
    except Exception as error:
        return error
