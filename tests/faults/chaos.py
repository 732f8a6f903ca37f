"""Kills workers and pauses storage while people ask, as the plan says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from signal import SIGTERM

from app.storage.storage_errors import StorageError
from app.turns.answering import MAX_ATTEMPTS
from app.turns.checkpoint import Checkpoint, CheckpointUnreadableError
from tests.fakes.azurite import Azurite
from tests.faults.plan import Kill, Pause, Plan
from tests.faults.storage import LedgerReader
from tests.faults.tap import Tap
from tests.faults.workers import Worker, Workers

# Seconds. A kill that would still cut off a turn at its last attempt is left out.
_LONGEST_HOLD_UP = 15.0
_LONGEST_HOLD_UP_OF_A_PAUSE = 40.0
_BETWEEN_LOOKS_SECONDS = 1.0
# Events that were held up do not come all at once.
_BETWEEN_EVENTS_SECONDS = 2.0
# Seconds from the end of a look at the ledger until the worker is dead.
_MOMENT = 0.5


@dataclass(slots=True)
class Chaos:
    """A turn gives up after `MAX_ATTEMPTS` attempts: so SIGKILL spares a worker that has a turn at its last attempt and
    takes the next worker, and storage is paused only when no worker has one. A turn whose answer is complete in the
    ledger is never given up.

    `pauses`: when storage was paused, in seconds of the run. `left_out`: the events that would have cut off such a turn
    whenever they had come. `held_up` in seconds. `elsewhere`: how many SIGKILLs took the next worker.
    """

    plan: Plan
    workers: Workers
    azurite: Azurite
    ledger_reader: LedgerReader
    tap: Tap
    clock: Callable[[], float]
    killed_workers: list[Worker] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)
    left_out: list[Kill | Pause] = field(default_factory=list)
    held_up: float = 0.0
    elsewhere: int = 0
    # No worker is asked to end, and so hands a turn over, between a look at the ledger and a kill.
    _killing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def inject(self) -> None:
        # A worker that is asked to end hands its turns over, and that is no try: it never has to wait.
        gentle = [kill for kill in self.plan.kills if kill.signal is SIGTERM]
        hard = [kill for kill in self.plan.kills if kill.signal is not SIGTERM]
        await asyncio.gather(self._inject_all(gentle), self._inject_all([*hard, *self.plan.pauses]))

    async def _inject_all(self, events: Sequence[Kill | Pause]) -> None:
        last = 0.0
        for event in sorted(events, key=lambda event: event.at):
            await asyncio.sleep(max(event.at, last + _BETWEEN_EVENTS_SECONDS) - self.clock())
            if isinstance(event, Pause):
                await self._pause(event)
            elif event.signal is SIGTERM:
                async with self._killing:
                    await self._kill_worker(event, event.worker)
            else:
                await self._kill(event)
            last = self.clock()

    async def _kill_worker(self, kill: Kill, slot: int) -> None:
        self.killed_workers.append(await self.workers.kill(slot, kill.signal))

    async def _kill(self, kill: Kill) -> None:
        due = self.clock()
        while self.clock() < due + _LONGEST_HOLD_UP:
            async with self._killing:
                slot = await self._worker_to_kill(kill.worker)
                if slot is not None:
                    self.held_up += self.clock() - due
                    self.elsewhere += slot != kill.worker
                    await self._kill_worker(kill, slot)
                    return
            await asyncio.sleep(_BETWEEN_LOOKS_SECONDS)
        self.held_up += self.clock() - due
        self.left_out.append(kill)

    async def _pause(self, pause: Pause) -> None:
        due = self.clock()
        stands_still = False
        while self.clock() < due + _LONGEST_HOLD_UP_OF_A_PAUSE:
            async with self._killing:
                # While storage stands still nobody comes to another try: its kill needs no look of its own.
                if stands_still := not await self._spared():
                    self.azurite.pause()
                    break
            await asyncio.sleep(_BETWEEN_LOOKS_SECONDS)
        began = self.clock()
        self.held_up += began - due
        if not stands_still:
            self.left_out.append(pause)
            return
        try:
            await asyncio.sleep(pause.kill.at - pause.at)
            await self._kill_worker(pause.kill, pause.kill.worker)
            await asyncio.sleep(began + pause.seconds - self.clock())
        finally:
            self.azurite.resume()
            self.pauses.append((began, self.clock()))

    async def _worker_to_kill(self, planned: int) -> int | None:
        spared = await self._spared()
        workers = self.workers.current
        slots = [(planned + further) % len(workers) for further in range(len(workers))]
        return next((slot for slot in slots if workers[slot].name not in spared), None)

    async def _spared(self) -> set[str]:
        """The workers that may have a turn at its last attempt; all of them where its owner is not known."""
        everybody = {worker.name for worker in self.workers.current}
        asked = [question for question in self.plan.questions if question.asked_at < self.clock()]
        try:
            turns = await self.ledger_reader.open_turns(asked)
        except StorageError:
            return everybody
        spared: set[str] = set()
        soon = time.time() + _MOMENT
        for turn in turns:
            # A turn without an owner may be claimed, for its next attempt, before the worker is dead.
            free = turn.lease_until < soon
            if turn.attempt_count + free < MAX_ATTEMPTS or _has_end(turn.checkpoint):
                continue
            worker = self.tap.worker_of(turn.owner)
            if free or worker is None or worker not in everybody:
                return everybody
            spared.add(worker)
        return spared


def _has_end(checkpoint: str) -> bool:
    try:
        return Checkpoint.from_json(checkpoint).end is not None
    except CheckpointUnreadableError:
        # Too long for its row.
        return True
