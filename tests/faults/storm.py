"""What befalls the workers and their storage while people ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from signal import SIGTERM

from app.storage.ledger import TurnRecord
from app.turns.attempt import MOST_TRIES
from tests.faults.plan import Kill, Pause, Plan
from tests.faults.storage import Onlooker, PausableAzurite
from tests.faults.workers import Worker, Workers

# Seconds. Whoever has not come to an end by then is lost, and does not hold up the others.
_LONGEST_HOLD_UP = 20.0
# Seconds. Blows that were held up do not come all at once.
_BETWEEN_BLOWS = 2.0
_MOMENT = 0.5


@dataclass(slots=True)
class Storm:
    """A turn may be cut off `MOST_TRIES` times, after that its person is told: while one is at its last try, the next
    SIGKILL and the next pause wait. `pauses` are the times, in seconds of the run, in which storage stood still.
    """

    plan: Plan
    workers: Workers
    azurite: PausableAzurite
    onlooker: Onlooker
    clock: Callable[[], float]
    victims: list[Worker] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)
    held_up: float = 0.0

    async def blow(self) -> None:
        # A worker that is asked to end hands its turns over, and that is no try: it never has to wait.
        gentle = [kill for kill in self.plan.kills if kill.signal is SIGTERM]
        hard = [kill for kill in self.plan.kills if kill.signal is not SIGTERM]
        await asyncio.gather(self._blows(gentle), self._blows([*hard, *self.plan.pauses]))

    async def _blows(self, blows: Sequence[Kill | Pause]) -> None:
        last = 0.0
        for blow in sorted(blows, key=lambda blow: blow.at):
            await asyncio.sleep(max(blow.at, last + _BETWEEN_BLOWS) - self.clock())
            if not (isinstance(blow, Kill) and blow.signal is SIGTERM):
                await self._nobody_at_the_last_try()
            if isinstance(blow, Pause):
                await self._pause(blow)
            elif self.clock() < self.plan.seconds:
                await self._kill(blow)
            last = self.clock()

    async def _kill(self, kill: Kill) -> None:
        self.victims.append(await self.workers.kill(kill.worker, kill.signal))

    async def _pause(self, pause: Pause) -> None:
        """Its kill needs no look at the ledger: while storage stands still nobody comes to another try."""
        began = self.clock()
        self.azurite.pause()
        try:
            await asyncio.sleep(pause.kill.at - pause.at)
            await self._kill(pause.kill)
            await asyncio.sleep(began + pause.seconds - self.clock())
        finally:
            self.azurite.resume()
            self.pauses.append((began, self.clock()))

    async def _nobody_at_the_last_try(self) -> None:
        began = self.clock()
        asked = [question for question in self.plan.questions if question.asked_at < began]
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST_HOLD_UP):
                await self.onlooker.none_open(asked, _is_at_its_last_try)
        self.held_up += self.clock() - began


def _is_at_its_last_try(turn: TurnRecord) -> bool:
    # Whoever takes one that nobody has makes the next try of it before the blow falls.
    nobody_has_it = turn.lease_until < time.time() + _MOMENT
    return turn.tries + nobody_has_it >= MOST_TRIES
