"""The load driver: it runs in the fakes' process, so that it costs the measured one nothing."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Protocol

import aiohttp

from benchmarks.load_records import LoadPlan, LoadRun, TurnTiming
from benchmarks.teams_activities import conversation_id, message, question

_LAG_CHECK_SECONDS = 0.005


class TurnRegister(Protocol):
    """Where the fakes look up which turn a request belongs to."""

    by_reference: dict[str, TurnTiming]
    by_conversation: dict[str, TurnTiming]
    answered: dict[str, asyncio.Event]


async def drive(plan: LoadPlan, service_url: str, expected: str, register: TurnRegister) -> LoadRun:
    """Asks what the plan says, and returns when every turn is acknowledged and answered or has timed out."""
    lag = _LagWatch()
    watching = asyncio.create_task(lag.watch())
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            users = [
                _SimulatedUser(plan, index, service_url, expected, register, session)
                for index in range(plan.conversations)
            ]
            asked = await asyncio.gather(*(person.ask_all() for person in users))
    finally:
        watching.cancel()
    return LoadRun(turns=[turn for turns in asked for turn in turns], driver_lag_seconds=lag.longest)


class _SimulatedUser:
    def __init__(
        self,
        plan: LoadPlan,
        index: int,
        service_url: str,
        expected: str,
        register: TurnRegister,
        session: aiohttp.ClientSession,
    ) -> None:
        self._plan = plan
        self._start_after = plan.stagger * index
        self._conversation = conversation_id(plan.conversation_type, plan.name, index)
        self._service_url = service_url
        self._expected = expected
        self._register = register
        self._session = session

    async def ask_all(self) -> list[TurnTiming]:
        plan = self._plan
        ends = None if plan.duration is None else time.monotonic() + plan.duration
        await asyncio.sleep(self._start_after)
        turns: list[TurnTiming] = []
        number = plan.first_number
        while (len(turns) < plan.turns) if ends is None else (time.monotonic() < ends):
            if turns:
                await asyncio.sleep(plan.pause)
            turns.append(await self._ask(number))
            number += 1
        return turns

    async def _ask(self, number: int) -> TurnTiming:
        reference = uuid.uuid4().hex[:12]
        body = message(self._plan.conversation_type, self._conversation, question(reference), self._service_url)
        turn = TurnTiming(self._conversation, number, self._expected, posted=time.monotonic())
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

    async def _post(self, turn: TurnTiming, body: dict[str, object]) -> None:
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
            due = time.monotonic() + _LAG_CHECK_SECONDS
            await asyncio.sleep(_LAG_CHECK_SECONDS)
            self.longest = max(self.longest, time.monotonic() - due)
