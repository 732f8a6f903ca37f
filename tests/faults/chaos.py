"""What befalls the workers and their storage while people ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from signal import SIGTERM

from app.storage.storage_errors import StorageError
from app.turns.checkpoint import parse_checkpoint
from app.turns.execution import MAX_ATTEMPTS
from tests.faults.plan import Kill, Pause, Plan
from tests.faults.storage import Onlooker, PausableAzurite
from tests.faults.tap import Tap
from tests.faults.workers import Worker, Workers

# Seconds. A blow that would still hit a turn at its last try is left out.
_LONGEST_HOLD_UP = 15.0
_LONGEST_HOLD_UP_OF_A_PAUSE = 40.0
_BETWEEN_LOOKS = 1.0
# Seconds. Blows that were held up do not come all at once.
_BETWEEN_BLOWS = 2.0
# Seconds, from the end of a look at the ledger until the blow has fallen.
_MOMENT = 0.5


@dataclass(slots=True)
class Storm:
    """A turn may be cut off `MAX_ATTEMPTS` times, after that its person is told: SIGKILL spares a worker that has one
    at
    its last try and takes the next, and storage stands still when no worker has one. Once the end of its answer is in
    the ledger a turn is not given up any more, however often it is tried.

    `pauses` are the times, in seconds of the run, in which storage stood still, `left_out` the blows that would have
    hit such a turn whenever they had come. `held_up` in seconds; `elsewhere` is how many SIGKILLs took the next worker.
    """

    plan: Plan
    workers: Workers
    azurite: PausableAzurite
    onlooker: Onlooker
    tap: Tap
    clock: Callable[[], float]
    victims: list[Worker] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)
    left_out: list[Kill | Pause] = field(default_factory=list)
    held_up: float = 0.0
    elsewhere: int = 0
    # Nobody is asked to end, and so hands a turn over, between a look at the ledger and the blow.
    _striking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def blow(self) -> None:
        # A worker that is asked to end hands its turns over, and that is no try: it never has to wait.
        gentle = [kill for kill in self.plan.kills if kill.signal is SIGTERM]
        hard = [kill for kill in self.plan.kills if kill.signal is not SIGTERM]
        await asyncio.gather(self._blows(gentle), self._blows([*hard, *self.plan.pauses]))

    async def _blows(self, blows: Sequence[Kill | Pause]) -> None:
        last = 0.0
        for blow in sorted(blows, key=lambda blow: blow.at):
            await asyncio.sleep(max(blow.at, last + _BETWEEN_BLOWS) - self.clock())
            if isinstance(blow, Pause):
                await self._pause(blow)
            elif blow.signal is SIGTERM:
                async with self._striking:
                    await self._strike(blow, blow.worker)
            else:
                await self._kill(blow)
            last = self.clock()

    async def _strike(self, kill: Kill, slot: int) -> None:
        self.victims.append(await self.workers.kill(slot, kill.signal))

    async def _kill(self, kill: Kill) -> None:
        due = self.clock()
        while self.clock() < due + _LONGEST_HOLD_UP:
            async with self._striking:
                slot = await self._victim(kill.worker)
                if slot is not None:
                    self.held_up += self.clock() - due
                    self.elsewhere += slot != kill.worker
                    await self._strike(kill, slot)
                    return
            await asyncio.sleep(_BETWEEN_LOOKS)
        self.held_up += self.clock() - due
        self.left_out.append(kill)

    async def _pause(self, pause: Pause) -> None:
        due = self.clock()
        stands_still = False
        while self.clock() < due + _LONGEST_HOLD_UP_OF_A_PAUSE:
            async with self._striking:
                # While storage stands still nobody comes to another try: its kill needs no look of its own.
                if stands_still := not await self._spared():
                    self.azurite.pause()
                    break
            await asyncio.sleep(_BETWEEN_LOOKS)
        began = self.clock()
        self.held_up += began - due
        if not stands_still:
            self.left_out.append(pause)
            return
        try:
            await asyncio.sleep(pause.kill.at - pause.at)
            await self._strike(pause.kill, pause.kill.worker)
            await asyncio.sleep(began + pause.seconds - self.clock())
        finally:
            self.azurite.resume()
            self.pauses.append((began, self.clock()))

    async def _victim(self, planned: int) -> int | None:
        spared = await self._spared()
        workers = self.workers.current
        slots = [(planned + further) % len(workers) for further in range(len(workers))]
        return next((slot for slot in slots if workers[slot].name not in spared), None)

    async def _spared(self) -> set[str]:
        """The workers that may have a turn at its last try; all of them where it is not known who has one."""
        everybody = {worker.name for worker in self.workers.current}
        asked = [question for question in self.plan.questions if question.asked_at < self.clock()]
        try:
            turns = await self.onlooker.open_turns(asked)
        except StorageError:
            return everybody
        spared: set[str] = set()
        soon = time.time() + _MOMENT
        for turn in turns:
            # Whoever takes one that nobody has makes the next try of it before the blow falls.
            free = turn.lease_until < soon
            if turn.attempt_count + free < MAX_ATTEMPTS or parse_checkpoint(turn.shown).end is not None:
                continue
            worker = self.tap.worker_of(turn.owner)
            if free or worker is None or worker not in everybody:
                return everybody
            spared.add(worker)
        return spared
