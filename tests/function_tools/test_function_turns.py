"""A turn asks a function, and its worker vanishes or stalls at any moment: the function is asked once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from app.agent.agent import Agent
from app.bot.channel import TEAMS_GROUP
from app.function_tools.function_tools import FunctionTools
from app.models.model import Completed, ModelEvent, ModelRequest, TextDelta, ToolCall
from app.settings.function_tool_settings import FunctionToolSettings
from app.storage.ledger import TurnState
from tests.fakes.chat import Behind, ends_with
from tests.fakes.function_queues import FunctionQueues
from tests.fakes.tools import without_data_marks
from tests.fakes.turn_harness import TurnHarness, Worker, now, plain, played
from tests.function_tools.function_workers import WEATHER

ANSWERS_AFTER_SECONDS = 40.0


class Forecaster:
    """A model that asks for the weather, and in each attempt in other words: only a recorded call is the same one."""

    name = "forecaster"

    def __init__(self) -> None:
        self.asked = 0
        self.told: list[str] = []

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.asked += 1
        results = [without_data_marks(message.content) for message in request.messages if message.role == "tool"]
        if results:
            self.told = results
            yield TextDelta(f"It is {results[0]}.")
            yield Completed()
        else:
            yield Completed((ToolCall("a", "weather", f'{{"city": "Lisbon, version {self.asked}"}}'),))

    async def close(self) -> None:
        pass


class Run:
    def __init__(self) -> None:
        self.queues = FunctionQueues()
        self.model = Forecaster()
        self.answered: list[dict[str, Any]] = []
        entry = {**WEATHER, "timeout_seconds": 200, "reads_only": True}
        self.settings = FunctionToolSettings.model_validate({"FUNCTION_TOOLS": [entry]})

    def equip(self, worker: Worker) -> Worker:
        def opened(endpoint: str, name: str) -> Any:
            return Behind(self.queues.open(endpoint, name), worker.wire)

        documents = Behind(worker.harness.store.documents(), worker.wire)
        tools = FunctionTools(self.settings, cast(Any, documents), opened, clock=now)
        worker.runner._agent = Agent(self.model, [tools], system_prompt="", history_token_budget=1000)
        return worker

    async def serve(self) -> None:
        """The function: it takes one question after the other, and answers some time later."""
        self.queues.open(WEATHER["endpoint"].rstrip("/"), "fn-in")
        while True:
            question = await self.queues.asked()
            self.answered.append(question)
            await asyncio.sleep(ANSWERS_AFTER_SECONDS)
            await self.queues.answer({"Value": "sunny", "CorrelationId": question["CorrelationId"]})


async def vanishes(worker: Worker, moment: float) -> None:
    await asyncio.sleep(moment)
    worker.wire.cut()


async def stalls(worker: Worker, moment: float) -> None:
    """Beyond its lease, and then it wakes."""
    await vanishes(worker, moment)
    asyncio.get_running_loop().call_later(33, worker.wire.join)


async def ends_undisturbed(_: Worker, moment: float) -> None:
    await asyncio.sleep(moment)


Disturbance = Callable[[Worker, float], Awaitable[None]]


def played_with(folder: Path, disturbance: Disturbance, moment: float) -> tuple[Run, Any]:
    run = Run()

    async def script(harness: TurnHarness) -> None:
        make, harness.worker = harness.worker, lambda *_: run.equip(make())  # type: ignore[method-assign]
        first = harness.worker()
        serving, asking = asyncio.create_task(run.serve()), asyncio.create_task(first.ask())
        async with ends_with(serving, asking):
            await disturbance(first, moment)
            await harness.later(150)

    _, (state, memory) = played(TEAMS_GROUP, folder, script)
    return run, (state, [plain(message.text).strip() for message in memory])


ANSWERED = (TurnState.ANSWERED, ["How?", "It is sunny."])


@pytest.mark.slow
@pytest.mark.parametrize("disturbance", [vanishes, stalls])
def test_a_function_is_asked_once_whatever_becomes_of_a_worker_of_its_turn(
    disturbance: Disturbance, tmp_path: Path
) -> None:
    wrong = {}
    moments = [0.03 + 0.012 * n for n in range(10)] + [20.0, 40.4]
    for number, moment in enumerate(moments):
        run, end = played_with(tmp_path / str(number), disturbance, moment)
        asked = len(run.queues.named("fn-in").put_at)
        unknown = asked == 0 and "is not known" in "".join(run.model.told)
        if asked > 1 or not (unknown or end == ANSWERED):
            wrong[moment] = asked, end
    assert wrong == {}


def test_a_turn_that_nobody_interrupts_asks_once_and_the_model_twice(tmp_path: Path) -> None:
    run, end = played_with(tmp_path, ends_undisturbed, 60)
    assert end == ANSWERED
    assert (run.model.asked, len(run.answered)) == (2, 1)
