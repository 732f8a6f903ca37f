"""People who ask: the load driver, in the fakes' process so that it costs the measured one nothing."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Protocol

import aiohttp

from benchmarks.activities import conversation_id, message, question
from benchmarks.records import Plan, Run, Turn

_LAG_EVERY = 0.005


class Register(Protocol):
    """Where the fakes look up which turn a request belongs to."""

    by_reference: dict[str, Turn]
    by_conversation: dict[str, Turn]
    answered: dict[str, asyncio.Event]


async def drive(plan: Plan, service_url: str, expected: str, register: Register) -> Run:
    """Asks what the plan says and returns when every turn is acknowledged and answered, or its time is over."""
    lag = _LagWatch()
    watching = asyncio.create_task(lag.watch())
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            people = [
                _Person(plan, index, service_url, expected, register, session) for index in range(plan.conversations)
            ]
            asked = await asyncio.gather(*(person.ask_all() for person in people))
    finally:
        watching.cancel()
    return Run(turns=[turn for turns in asked for turn in turns], driver_lag=lag.longest)


class _Person:
    def __init__(
        self,
        plan: Plan,
        index: int,
        service_url: str,
        expected: str,
        register: Register,
        session: aiohttp.ClientSession,
    ) -> None:
        self._plan = plan
        self._start_after = plan.stagger * index
        self._conversation = conversation_id(plan.place, plan.name, index)
        self._service_url = service_url
        self._expected = expected
        self._register = register
        self._session = session

    async def ask_all(self) -> list[Turn]:
        plan = self._plan
        ends = None if plan.duration is None else time.monotonic() + plan.duration
        await asyncio.sleep(self._start_after)
        turns: list[Turn] = []
        number = plan.first_number
        while (len(turns) < plan.turns) if ends is None else (time.monotonic() < ends):
            if turns:
                await asyncio.sleep(plan.pause)
            turns.append(await self._ask(number))
            number += 1
        return turns

    async def _ask(self, number: int) -> Turn:
        reference = uuid.uuid4().hex[:12]
        body = message(self._plan.place, self._conversation, question(reference), self._service_url)
        turn = Turn(self._conversation, number, self._expected, posted=time.monotonic())
        answered = asyncio.Event()
        self._register.by_reference[reference] = turn
        self._register.by_conversation[self._conversation] = turn
        self._register.answered[self._conversation] = answered
        try:
            async with asyncio.timeout(self._plan.turn_limit):
                await asyncio.gather(self._post(turn, body), answered.wait())
        except (TimeoutError, aiohttp.ClientError):
            pass  # the turn then counts as not answered, and the report says so
        del self._register.by_reference[reference]
        return turn

    async def _post(self, turn: Turn, body: dict[str, object]) -> None:
        give_up = time.monotonic() + self._plan.connect_for
        while True:
            try:
                async with self._session.post(self._plan.target, json=body) as response:
                    await response.read()
                    turn.status, turn.acknowledged = response.status, time.monotonic()
                    return
            except aiohttp.ClientConnectorError:
                if time.monotonic() > give_up:
                    raise
            await asyncio.sleep(0.005)


class _LagWatch:
    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        while True:
            due = time.monotonic() + _LAG_EVERY
            await asyncio.sleep(_LAG_EVERY)
            self.longest = max(self.longest, time.monotonic() - due)
