"""Nothing of classic agents is left, whatever fails on the way and whoever kills the program."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from app.foundry.agents.classic_removal import ClassicRemoval
from app.foundry.agents.foundry_errors import NoEndError, UnavailableError
from tests.fakes.foundry_project import until
from tests.foundry.agents.classic.conftest import (
    ASKING,
    CREATE,
    MARK,
    ORCHESTRATOR,
    READING,
    ClassicProgramHarness,
)

_DELETING = ["DELETE /threads/{id}", "DELETE /assistants/{id}"]


@pytest.mark.parametrize(
    ("call", "after"),
    [
        *((call, after) for call in (CREATE, *ASKING, *_DELETING) for after in (False, True)),
        *((c, False) for c in READING),
    ],
)
async def test_a_failure_at_each_step_leaves_nothing_after_delete(
    harness: ClassicProgramHarness, call: str, after: bool
) -> None:
    harness.stand_in.faults.add(call, 503, after=after, times=10, skipped=call == CREATE)
    with suppress(UnavailableError, NoEndError):
        await harness.orchestrator().create()
        await harness.orchestrator().ask("How many?", 30)
    harness.stand_in.faults.waiting.clear()
    assert await harness.orchestrator().delete() == ()
    assert harness.stand_in.left() == []


@pytest.mark.parametrize("call", [CREATE, *ASKING, READING[0]])
async def test_a_program_that_is_stopped_at_each_step_removes_what_it_made(
    harness: ClassicProgramHarness, call: str
) -> None:
    if call != CREATE:
        await harness.orchestrator().create()
    fault = harness.stand_in.faults.add(call, after=True, skipped=call == CREATE)
    work = harness.orchestrator().create() if call == CREATE else harness.orchestrator().ask("How many?", 30)
    running = asyncio.create_task(work)
    await until(fault.reached.is_set)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not harness.stand_in.classic.threads
    assert not harness.stand_in.running()
    if call == CREATE:
        assert not harness.stand_in.classic.all


@pytest.mark.parametrize("call", [CREATE, *ASKING, READING[0], "DELETE /threads/{id}"])
async def test_a_program_that_is_killed_at_each_step_leaves_nothing_after_delete(
    harness: ClassicProgramHarness, call: str
) -> None:
    if call != CREATE:
        await harness.orchestrator().create()
    fault = harness.stand_in.faults.add(call, after=True, skipped=call == CREATE)
    work = harness.orchestrator().create() if call == CREATE else harness.orchestrator().ask("How many?", 30)
    running = asyncio.create_task(work)
    await until(fault.reached.is_set)
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr(ClassicRemoval, "remove_question", _nothing)
        killed.setattr(ClassicRemoval, "remove_run_of_creation", _nothing)
        running.cancel()
        await asyncio.wait({running})
    assert harness.stand_in.left()
    assert await harness.orchestrator().delete() == ()
    assert harness.stand_in.left() == []


async def _nothing(*_: object) -> None: ...


async def test_a_run_that_another_program_left_is_cancelled_by_delete(harness: ClassicProgramHarness) -> None:
    await harness.orchestrator().create()
    thread = await harness.project.create_thread(MARK)
    harness.stand_in.runs.ends.append("stuck")
    await harness.project.add_message(thread, "How many?")
    agent = harness.agents()[ORCHESTRATOR]["id"]
    await harness.project.start_run(thread, agent, MARK, "")
    assert await harness.orchestrator().delete() == ()
    assert harness.stand_in.left() == []
    order = [call for call in harness.stand_in.faults.calls if call.startswith("DELETE") or call.endswith("cancel")]
    assert order == [
        "POST /threads/{thread}/runs/{id}/cancel",
        *["DELETE /assistants/{id}"] * 2,
        "DELETE /threads/{id}",
    ]


async def test_a_run_that_ended_before_it_was_cancelled_is_not_left(harness: ClassicProgramHarness) -> None:
    await harness.orchestrator().create()
    thread = await harness.project.create_thread(MARK)
    harness.stand_in.runs.ends.append("stuck")
    await harness.project.start_run(thread, harness.agents()[ORCHESTRATOR]["id"], MARK, "")
    harness.stand_in.faults.add("POST /threads/{thread}/runs/{id}/cancel", 400)
    assert await harness.orchestrator().delete() == ()
    assert not harness.stand_in.classic.threads


async def test_a_thread_that_is_gone_meanwhile_is_not_left(harness: ClassicProgramHarness) -> None:
    await harness.project.create_thread(MARK)
    harness.stand_in.faults.add("GET /threads/{thread}/runs", 404)
    harness.stand_in.faults.add("DELETE /threads/{id}", 404, after=True)
    assert await harness.orchestrator().delete() == ()
    assert not harness.stand_in.classic.threads


@pytest.mark.parametrize("call", ["GET /assistants", "GET /threads"])
async def test_a_list_that_is_not_there_is_said_to_be_left(harness: ClassicProgramHarness, call: str) -> None:
    harness.stand_in.faults.add(call, 404)
    (left,) = await harness.orchestrator().delete()
    assert "could not be listed" in left
