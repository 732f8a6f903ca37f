"""Whether a turn has to wait for an earlier one of its conversation, and when it no longer does."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace

from app.storage.ledger import Predecessor, TurnRecord
from app.storage.storage_errors import StorageError
from app.turns.lease import TurnBackend, TurnLease
from app.turns.ordering import TurnCompletionEvents
from app.turns.queue_message import TurnMessage
from app.turns.stall_timer import NOT_STALLED, StallTimer

_log = logging.getLogger(__name__)

REQUEUE_SECONDS = 3.0
"""A turn that waits on the queue is looked at this often."""
_FIRST_POLL_SECONDS = 0.25
_MAX_POLL_SECONDS = 2.0
_POLL_GROWTH = 1.5
_STALLED_SECONDS = 30.0
_STALE_LEASE_SECONDS = 3600.0


class Predecessors:
    def __init__(self, backend: TurnBackend) -> None:
        self._backend = backend
        self._completions = TurnCompletionEvents()

    async def wait(self, lease: TurnLease) -> Predecessor | None:
        """Returns None once no earlier turn is open and this one is started; else an earlier turn that has stalled,
        because its worker is gone and nobody has claimed it.
        """
        await asyncio.sleep(max(0.0, lease.starts_after - self._backend.clock()))
        timer, watched_seconds, interval = NOT_STALLED, 0.0, _FIRST_POLL_SECONDS
        since = _oldest_lease_waited_for(self._backend.clock())
        while True:
            try:
                predecessor = await self._backend.store.start(lease.record, since=since)
            except StorageError as failure:
                _log.warning("Whether an earlier turn is open is not known (%s)", type(failure).__name__)
            else:
                if predecessor is None:
                    return None
                timer = timer.observed(predecessor, now=self._backend.clock(), watched_seconds=watched_seconds)
                if self._has_stalled(timer):
                    return predecessor
            began = self._backend.clock()
            await self._completions.wait(lease.record.key.conversation, timeout=interval)
            watched_seconds = self._backend.clock() - began
            interval = min(interval * _POLL_GROWTH, _MAX_POLL_SECONDS)

    async def check(self, record: TurnRecord, message: TurnMessage) -> StallTimer | None:
        """One look, for a turn that waits on the queue: what was observed of the turn it has to wait for; None if it
        does not have to wait, and is started. Raises `StorageError`.
        """
        since = _oldest_lease_waited_for(message.asked_at)
        if not record.lease_until:
            # Later turns have skipped this one: they are before it now, and one of them may be streaming.
            record = replace(record, ticket=max(record.ticket, round(self._backend.clock() * 1000)))
        predecessor = await self._backend.store.start(record, since=since)
        if predecessor is None:
            return None
        timer = message.stall_timer.observed(predecessor, now=self._backend.clock(), watched_seconds=REQUEUE_SECONDS)
        if not self._has_stalled(timer):
            return timer
        # That one and no other: the next may be waiting as this one does.
        await self._backend.store.skip(record, predecessor)
        return None if await self._backend.store.start(record, since=since) is None else NOT_STALLED

    async def skip(self, lease: TurnLease, stalled: Predecessor) -> None:
        """No turn waits for `stalled` any more, unless a worker claims it."""
        with suppress(StorageError):
            await self._backend.store.skip(lease.record, stalled)

    def notify_completed(self, lease: TurnLease) -> None:
        self._completions.notify(lease.record.key.conversation)

    def _has_stalled(self, timer: StallTimer) -> bool:
        return timer.stalled_for_seconds > _STALLED_SECONDS + self._backend.lease_seconds


def _oldest_lease_waited_for(asked_at: float) -> float:
    """Turns whose lease ended before this are not waited for: what a long outage has left open keeps its own order, and
    does not delay what was asked after it.
    """
    return max(0.0, asked_at - _STALE_LEASE_SECONDS)
