"""Whatever fails on the way, no tool runs twice for one question, and `delete` leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from app.foundry.agents.foundry_errors import FoundryError
from app.foundry.agents.project_client import open_project
from app.local.foundry_stand_in.server import FoundryStandIn
from tests.fakes.foundry_project import served
from tests.foundry.agents.conftest import QUICK, ProgramHarness, answered, quick_calls

CALLS = [
    "GET /agents",
    "GET /agents/{name}",
    "GET /agents/{name}/versions",
    "POST /agents/{name}/versions",
    "DELETE /agents/{name}",
    "DELETE /agents/{name}/versions/{version}",
    "POST /openai/v1/conversations",
    "GET /openai/v1/conversations",
    "DELETE /openai/v1/conversations/{id}",
    "POST /openai/v1/responses",
    "GET /openai/v1/responses",
    "GET /openai/v1/responses/{id}",
    "DELETE /openai/v1/responses/{id}",
    "POST /openai/v1/responses/{id}/cancel",
]


@pytest.mark.usefixtures("one_tls_context")
@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(6, 150), marks=pytest.mark.proof)], ids=["few", "many"])
async def test_random_faults(seeds: range, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.foundry.agents.creation._BACKOFF", QUICK)
    asked: Counter[str] = Counter()

    async def noted(tool: Mapping[str, Any], correlation_id: str, arguments: Mapping[str, Any]) -> str:
        asked[arguments["query"]] += 1
        return await answered(tool, correlation_id, arguments)

    stand_in = FoundryStandIn()
    stand_in.queues.call = noted  # type: ignore[method-assign]
    async with (
        served(stand_in) as address,
        open_project(address, quick_calls(call_seconds=0.3)) as project,
        open_project(address, quick_calls()) as patient,
    ):
        for seed in seeds:
            await _with_faults(ProgramHarness(stand_in, address, project), random.Random(seed))
            stand_in.faults.waiting.clear()
            harness = ProgramHarness(stand_in, address, patient)
            assert await harness.orchestrator().delete() == (), f"seed {seed}: {harness.text()}"
            assert (stand_in.left(), stand_in.responses.all) == ([], {}), f"seed {seed}: {harness.text()}"
    assert set(asked.values()) <= {1}
    assert asked, "some questions were answered"


async def _with_faults(harness: ProgramHarness, chance: random.Random) -> None:
    steps = [harness.orchestrator(FOUNDRY_TOOL_NAME=chance.choice(["a", "b"])).create]
    if chance.random() < 0.7:
        await steps.pop()()
        steps.append(harness.orchestrator(FOUNDRY_TOOL_NAME=chance.choice(["a", "b"])).create)
    for _ in range(chance.randint(1, 3)):
        harness.stand_in.faults.add(
            chance.choice(CALLS),
            chance.choice([400, 404, 409, 429, 500, 503, None]),
            times=chance.randint(1, 5),
            skipped=chance.randint(0, 2),
            after=chance.random() < 0.5,
        )
    for step in (*steps, lambda: harness.orchestrator().ask(f"{chance.random()}?", 2), harness.orchestrator().delete):
        task = asyncio.ensure_future(step())
        if chance.random() < 0.2:
            asyncio.get_running_loop().call_later(chance.random() * 0.2, task.cancel)
        await asyncio.wait({task})
        assert task.cancelled() or task.exception() is None or isinstance(task.exception(), FoundryError)
