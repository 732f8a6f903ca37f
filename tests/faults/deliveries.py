"""Teams' other half: brings each message to some worker, and brings it again until it is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

import aiohttp

from tests.faults.plan import Question
from tests.faults.workers import Workers

# Seconds, Teams' own.
ACKNOWLEDGED_WITHIN = 15.0
# Seconds. Teams takes longer; a person would wait no less for it.
_AGAIN_AFTER = (0.3, 1.0)
_MOST_TRIES = 60


@dataclass(slots=True)
class Delivery:
    """`answer` is the status or what went wrong, None while it is waited for. Times in seconds of the run."""

    question: str
    worker: str
    at: float
    repeat: bool
    answer: int | str | None = None
    ended_at: float | None = None

    @property
    def timed_out(self) -> bool:
        return self.answer == TimeoutError.__name__

    @property
    def taken(self) -> bool:
        return isinstance(self.answer, int) and 200 <= self.answer < 300


class Deliveries:
    """Which worker a message goes to is drawn from the seed."""

    def __init__(
        self, client: aiohttp.ClientSession, workers: Workers, service_url: str, seed: int, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._workers = workers
        self._service_url = service_url
        self._seed = seed
        self._clock = clock
        self._sent_at: dict[str, str] = {}
        self.all: list[Delivery] = []
        self.never_taken: list[Question] = []

    async def deliver(self, question: Question) -> None:
        """Returns when it has been taken, and where the plan says so taken again, whichever is first."""
        await asyncio.sleep(question.asked_at - self._clock())
        await asyncio.gather(self._until_taken(question, repeat=False), self._deliver_again(question))

    async def repeat(self, question: Question) -> Delivery:
        return await self._once(question, 0, repeat=True)

    def of(self, question: str) -> list[Delivery]:
        return [delivery for delivery in self.all if delivery.question == question]

    async def _deliver_again(self, question: Question) -> None:
        if question.repeated_after is not None:
            await asyncio.sleep(question.repeated_after)
            await self._until_taken(question, repeat=True)

    async def _until_taken(self, question: Question, *, repeat: bool) -> None:
        random = Random(f"{self._seed}/delivery/{question.id}/{repeat}")
        for _ in range(_MOST_TRIES):
            slot = random.randrange(len(self._workers.current)) if question.slot is None else question.slot
            if (await self._once(question, slot, repeat=repeat)).taken:
                return
            await asyncio.sleep(random.uniform(*_AGAIN_AFTER))
        self.never_taken.append(question)

    async def _once(self, question: Question, slot: int, *, repeat: bool) -> Delivery:
        worker = self._workers.current[slot]
        delivery = Delivery(question.id, worker.name, self._clock(), repeat)
        self.all.append(delivery)
        timeout = aiohttp.ClientTimeout(total=ACKNOWLEDGED_WITHIN)
        try:
            # A repeat says the same.
            sent_at = self._sent_at.setdefault(question.id, datetime.now(UTC).isoformat(timespec="milliseconds"))
            activity = {**question.activity(self._service_url), "timestamp": sent_at}
            async with self._client.post(worker.endpoint, json=activity, timeout=timeout) as response:
                await response.read()
                delivery.answer = response.status
        except TimeoutError:
            # Some of aiohttp's have names of their own.
            delivery.answer = TimeoutError.__name__
        except aiohttp.ClientError as error:
            delivery.answer = type(error).__name__
        delivery.ended_at = self._clock()
        return delivery
