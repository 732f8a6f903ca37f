"""What is removed of a question to classic agents is nothing that somebody else has asked."""

from __future__ import annotations

import asyncio
import copy

import pytest

from app.foundry.agents.classic import connected_azure_function_agent
from app.foundry.agents.foundry_errors import UnavailableError
from tests.foundry.agents.classic.conftest import MARK, ClassicProgramHarness


async def test_after_a_lost_answer_nothing_of_another_question_is_removed(harness: ClassicProgramHarness) -> None:
    await harness.orchestrator().create()
    stand_in = harness.stand_in
    stand_in.runs.ends.append("stuck")
    other = asyncio.create_task(harness.orchestrator().ask("How many?", 60))
    async with asyncio.timeout(20):
        while not stand_in.running():  # noqa: ASYNC110 - another question is put
            await asyncio.sleep(0.01)
    (thread_id,) = stand_in.classic.threads
    stand_in.faults.add("POST /threads", 500, after=True)
    with pytest.raises(UnavailableError):
        await harness.orchestrator().ask("How much?", 60)
    assert list(stand_in.classic.threads) == [thread_id]
    assert stand_in.running(), "the other question was cancelled"
    (run,) = await harness.project.runs(thread_id)
    assert MARK.items() <= run["metadata"].items()
    other.cancel()
    await asyncio.wait([other])
    assert not stand_in.classic.threads


async def test_agents_that_were_made_to_stay_are_not_those_of_one_question(
    harness: ClassicProgramHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.orchestrator().create()
    before = copy.deepcopy(harness.stand_in.classic.all)
    for name, value in harness.environment(FOUNDRY_TOOLS="ask_data").items():
        monkeypatch.setenv(name, value)
    assert await asyncio.to_thread(connected_azure_function_agent, "How many?") == "ask_data says 42 to How many?"
    assert harness.stand_in.classic.all == before
