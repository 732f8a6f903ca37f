"""Where a turn is entered once, and where another worker takes it over when its own is gone."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from app.agent.memory import MOST_MESSAGES
from app.storage.failures import StorageFailed
from app.storage.ledger import Ahead, Begun, Changed, TurnKey, TurnRecord, TurnState
from app.storage.queue import Receipt, ReceiptEnded
from app.telemetry.turn import hand_over_missing
from app.turns.handover import HandOver
from app.turns.held import MARGIN, HeldTurn, Shelf
from app.turns.order import Arrivals, Endings
from app.turns.progress import read_progress
from app.turns.watch import NOT_YET, Watch

_log = logging.getLogger(__name__)

# All in seconds.
_LONGEST_ENTERING = 10.0
_LONGEST_PUTTING = 5.0
_FIRST_LOOK = 0.25
_LONGEST_BETWEEN_LOOKS = 2.0
_NO_SIGN_OF_LIFE = 30.0
_LONG_AGO = 3600.0
_ON_THE_QUEUE_AGAIN = 3.0
_FORGOTTEN = 12 * 3600.0
# After storage did not answer: one that was asked before, at another worker, is tried again within a second.
_SETTLING = 2.0
_OPEN = TurnState.STARTED


class Desk:
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._arrivals = Arrivals()
        self._endings = Endings()

    async def enter(
        self, key: TurnKey, hand_over: HandOver | None, *, asked_at: float | None = None
    ) -> HeldTurn | None:
        """None for a turn that has been entered before. Raises `StorageFailed` if nobody knows.

        Without `hand_over` nobody goes on with it: its caller has to ask again. `asked_at` is needed without one alone.
        """
        try:
            # One that came before, at this worker, is in the ledger or will never be.
            async with asyncio.timeout(_LONGEST_ENTERING), self._arrivals.of(key.conversation):
                return await self._enter(key, hand_over, asked_at if hand_over is None else hand_over.asked_at)
        except TimeoutError as error:
            raise StorageFailed("storage did not answer in time") from error

    async def _enter(self, key: TurnKey, hand_over: HandOver | None, asked_at: float | None) -> HeldTurn | None:
        record = self._record(key, asked_at, "" if hand_over is None or hand_over.fits else hand_over.begun)
        beginning = self._shelf.store.begin(record, remember=MOST_MESSAGES)
        if hand_over is None:
            begun, receipt = await beginning, None
        elif record.begun:
            # What is in the ledger alone has to be there before the message.
            begun = await beginning
            receipt = await self._put(hand_over, self._shelf.lease + MARGIN)
        else:
            begun, receipt = await self._begin_and_put(beginning, hand_over)
        if begun is None:
            return await self._repeated(key, hand_over, receipt)
        held = HeldTurn(self._shelf, begun.record, hand_over, receipt, history=begun.history, waits=begun.waits)
        if begun.delayed:
            held.starts_after = self._shelf.clock() + _SETTLING
        return held

    async def _begin_and_put(
        self, beginning: Coroutine[Any, Any, Begun | None], hand_over: HandOver
    ) -> tuple[Begun | None, Receipt | None]:
        async with asyncio.TaskGroup() as group:
            begun = group.create_task(_outcome(beginning))
            receipt = group.create_task(self._put(hand_over, self._shelf.lease + MARGIN))
        result = begun.result()
        if isinstance(result, Exception):
            await self._take_back(receipt.result())
            raise result
        return result, receipt.result()

    async def _repeated(self, key: TurnKey, hand_over: HandOver | None, receipt: Receipt | None) -> HeldTurn | None:
        """Takes it where whoever had it is gone. The message of an open turn stays: it may be the only one."""
        found = await self._shelf.store.find(key)
        if found is None or found.state is not _OPEN:
            await self._take_back(receipt)
            return None
        if found.lease_until > self._shelf.clock():
            return None
        return await self._take(found, hand_over, receipt)

    async def take_over(
        self, hand_over: HandOver, *, waits: Callable[[str], object] = lambda _: None
    ) -> HeldTurn | None:
        """None for a turn that is closed, that somebody works on, or that has gone back to the queue because it has to
        wait for an earlier one: then `waits` is called with what it begins with. Raises `StorageFailed`.
        """
        now = self._shelf.clock()
        found = await self._shelf.store.find(hand_over.key)
        if found is None:
            if now - hand_over.asked_at > _FORGOTTEN:
                _log.warning("A turn on the queue is too old to be known any more; it is dropped")
                return None
            # Its worker went away before it was entered.
            return await self._unless_it_waits(await self.enter(hand_over.key, hand_over), waits)
        if found.state is not _OPEN:
            _log.info("A turn on the queue is closed already (%s); its message is dropped", found.state)
            return None
        if found.lease_until > now:
            await self._shelf.queue.put(hand_over.written(), hidden_for=found.lease_until - now + MARGIN)
            return None
        watch = await self._behind(found, hand_over)
        if watch is not None:
            # A function that waits would take the place of the turn that is waited for.
            await self._shelf.queue.put(replace(hand_over, watch=watch).written(), hidden_for=_ON_THE_QUEUE_AGAIN)
            waits(hand_over.begun or found.begun)
            return None
        whole = HandOver(hand_over.key, hand_over.asked_at, hand_over.begun or found.begun, hand_over.traceparent)
        # Before the turn is ours: if this worker goes away too, its message is there.
        receipt = await self._shelf.queue.put(hand_over.written(), hidden_for=self._shelf.lease + MARGIN)
        try:
            held = await self._take(found, whole, receipt)
            if held is None:
                await self._left_to(found, receipt)
        except StorageFailed as failure:
            _log.warning("A turn could not be taken over (%s); its message is there", type(failure).__name__)
            return None
        if held is not None:
            # Who has none before it never gets one.
            held.waits = False
        return held

    async def _unless_it_waits(self, held: HeldTurn | None, waits: Callable[[str], object]) -> HeldTurn | None:
        if held is None or not held.waits:
            return held
        await held.give_back(after=_ON_THE_QUEUE_AGAIN)
        if held.hand_over is not None:
            waits(held.hand_over.begun)
        return None

    async def _behind(self, found: TurnRecord, hand_over: HandOver) -> Watch | None:
        """What is seen of the turn it waits for; None where there is none, or where only the end is to be said."""
        since = _oldest_waited_for(hand_over.asked_at)
        if read_progress(found.shown).end is not None:
            return None
        if not found.lease_until:
            # It was passed by: those that went before it have its place, and one of them may be streaming.
            found = replace(found, ticket=max(found.ticket, round(self._shelf.clock() * 1000)))
        ahead = await self._shelf.store.start(found, since=since)
        if ahead is None:
            return None
        watch = hand_over.watch.seen(ahead, now=self._shelf.clock(), after=_ON_THE_QUEUE_AGAIN)
        if watch.still <= self._patience:
            return watch
        # That one and no other: the next may be waiting as this one does.
        await self._shelf.store.pass_by(found, ahead)
        return None if await self._shelf.store.start(found, since=since) is None else NOT_YET

    @property
    def _patience(self) -> float:
        return _NO_SIGN_OF_LIFE + self._shelf.lease

    async def _left_to(self, before: TurnRecord, receipt: Receipt) -> None:
        """Another worker was faster; or the one that is gone was, with its last renewal, and then nobody has it."""
        found = await self._shelf.store.find(before.key)
        if found is None or found.state is not _OPEN or found.owner != before.owner:
            await self._take_back(receipt)

    async def _take(self, found: TurnRecord, hand_over: HandOver | None, receipt: Receipt | None) -> HeldTurn | None:
        lease_until = self._shelf.clock() + self._shelf.lease
        try:
            record = await self._shelf.store.change(
                found.changed(owner=uuid.uuid4().hex, lease_until=lease_until, tries=found.tries + 1)
            )
        except Changed:
            return None
        return HeldTurn(self._shelf, record, hand_over, receipt)

    async def lost_before(self, held: HeldTurn) -> Ahead | None:
        """None once no earlier turn is left to wait for; else the one that shows no sign of life, and that whoever had
        it has lost.
        """
        await asyncio.sleep(max(0.0, held.starts_after - self._shelf.clock()))
        watch, waited, between = NOT_YET, 0.0, _FIRST_LOOK
        since = _oldest_waited_for(self._shelf.clock())
        while True:
            try:
                ahead = await self._shelf.store.start(held.record, since=since)
            except StorageFailed as failure:
                _log.warning("Whether an earlier turn is open is not known (%s)", type(failure).__name__)
            else:
                if ahead is None:
                    return None
                watch = watch.seen(ahead, now=self._shelf.clock(), after=waited)
                if watch.still > self._patience:
                    return ahead
            began = self._shelf.clock()
            await self._endings.next(held.record.key.conversation, within=between)
            waited, between = self._shelf.clock() - began, min(between * 1.5, _LONGEST_BETWEEN_LOOKS)

    async def pass_by(self, held: HeldTurn, lost: Ahead) -> None:
        """None waits for it any more, until somebody takes it over."""
        with suppress(StorageFailed):
            await self._shelf.store.pass_by(held.record, lost)

    def ended(self, held: HeldTurn) -> None:
        self._endings.ended(held.record.key.conversation)

    def _record(self, key: TurnKey, asked_at: float | None, begun: str) -> TurnRecord:
        now = self._shelf.clock()
        ticket = round((now if asked_at is None else asked_at) * 1000)
        return TurnRecord(key, ticket, _OPEN, uuid.uuid4().hex, now + self._shelf.lease, begun=begun)

    async def _put(self, hand_over: HandOver, seconds: float) -> Receipt | None:
        try:
            async with asyncio.timeout(_LONGEST_PUTTING):
                return await self._shelf.queue.put(hand_over.written(), hidden_for=seconds)
        except (StorageFailed, TimeoutError) as failure:
            _log.warning("A turn has no message on the queue yet (%s)", type(failure).__name__)
            hand_over_missing(failure)
            return None

    async def _take_back(self, receipt: Receipt | None) -> None:
        if receipt is not None:
            with suppress(StorageFailed, ReceiptEnded):
                await self._shelf.queue.delete(receipt)


def _oldest_waited_for(asked: float) -> float:
    """Leases that ended before this are not waited for: what a long outage has left open keeps its own order, and holds
    up nothing that was asked after it.
    """
    return max(0.0, asked - _LONG_AGO)


async def _outcome(beginning: Coroutine[Any, Any, Begun | None]) -> Begun | Exception | None:
    try:
        return await beginning
    except Exception as error:
        return error
