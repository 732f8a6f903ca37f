"""A program that dies at any step leaves nothing behind after `delete`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from app.foundry.agents.creation import AgentCreation
from app.foundry.agents.responses_orchestrator import ResponsesOrchestrator
from tests.foundry.agents.conftest import ProgramHarness

CREATE_STEPS = [("POST /agents/{name}/versions", 0), ("POST /agents/{name}/versions", 1)]
ASK_STEPS = [
    ("POST /openai/v1/conversations", 0, False),
    ("POST /openai/v1/conversations", 0, True),
    ("POST /openai/v1/responses", 0, False),
    ("POST /openai/v1/responses", 0, True),
    ("GET /openai/v1/responses/{id}", 0, True),
    ("POST /openai/v1/responses", 1, False),
    ("POST /openai/v1/responses", 1, True),
    ("POST /openai/v1/responses", 2, True),
    ("DELETE /openai/v1/responses/{id}", 0, False),
    ("DELETE /openai/v1/conversations/{id}", 0, True),
]


@pytest.fixture
def no_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs after a failure or Ctrl-C does not run after a kill."""

    async def nothing(*_: object) -> None: ...

    monkeypatch.setattr(AgentCreation, "_undo", nothing)
    monkeypatch.setattr(ResponsesOrchestrator, "_clean_up", nothing)


async def killed(
    harness: ProgramHarness, work: Awaitable[object], step: str, skipped: int, *, carried_out: bool
) -> None:
    fault = harness.stand_in.faults.add(step, None, after=carried_out, skipped=skipped)
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(10):
        await fault.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def assert_delete_leaves_nothing(harness: ProgramHarness) -> None:
    assert await harness.orchestrator().delete() == ()
    assert harness.stand_in.left() == []
    assert harness.stand_in.responses.all == {}


@pytest.mark.usefixtures("no_last_words")
@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize(("step", "skipped"), CREATE_STEPS)
async def test_killed_while_it_creates(harness: ProgramHarness, step: str, skipped: int, carried_out: bool) -> None:
    await killed(harness, harness.orchestrator().create(), step, skipped, carried_out=carried_out)
    assert bool(harness.stand_in.left()) is (carried_out or skipped > 0)
    await assert_delete_leaves_nothing(harness)


@pytest.mark.parametrize(("step", "skipped", "carried_out"), ASK_STEPS)
async def test_killed_while_it_asks(
    harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch, step: str, skipped: int, carried_out: bool
) -> None:
    await harness.orchestrator().create()
    if not step.startswith("DELETE"):

        async def nothing(*_: object) -> None: ...

        monkeypatch.setattr(ResponsesOrchestrator, "_clean_up", nothing)
    await killed(harness, harness.orchestrator().ask("How many?", 20), step, skipped, carried_out=carried_out)
    await assert_delete_leaves_nothing(harness)


async def test_killed_while_it_deletes(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    await killed(harness, harness.orchestrator().delete(), "DELETE /agents/{name}", 1, carried_out=False)
    assert harness.stand_in.left() != []
    await assert_delete_leaves_nothing(harness)
