"""What is removed of a question, or with the agents, is nothing that somebody else has asked."""

from __future__ import annotations

import asyncio

import pytest

from app.foundry.agents.foundry_errors import UnavailableError
from tests.foundry.agents.conftest import ProgramHarness


async def test_what_others_have_asked_our_agents_stays_when_these_are_removed(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    reference = {"type": "agent_reference", "name": "databricks-orchestrator", "version": "1"}
    body = {"input": "hello there", "background": True, "metadata": {}, "agent_reference": reference}
    theirs = (await harness.project.create_response(body, ""))["id"]
    assert await harness.orchestrator().delete() == ()
    assert list(harness.stand_in.responses.all) == [theirs]


@pytest.mark.parametrize("lost", ["POST /openai/v1/conversations", "POST /openai/v1/responses"])
async def test_after_a_lost_answer_nothing_of_another_question_is_removed(harness: ProgramHarness, lost: str) -> None:
    await harness.orchestrator().create()
    stand_in = harness.stand_in
    stand_in.runs.ends.append("stuck")
    other = asyncio.create_task(harness.orchestrator().ask("How many?", 60))
    async with asyncio.timeout(20):
        while not stand_in.responses.all:  # noqa: ASYNC110 - another question is put
            await asyncio.sleep(0.01)
    kept = [*stand_in.conversations.all, *stand_in.responses.all]
    stand_in.faults.add(lost, 500, after=True)
    with pytest.raises(UnavailableError):
        await harness.orchestrator().ask("How much?", 60)
    assert [*stand_in.conversations.all, *stand_in.responses.all] == kept
    assert [record.status for record in stand_in.responses.all.values()] == ["in_progress"], "it was cancelled"
    other.cancel()
    await asyncio.wait([other])
    assert [*stand_in.conversations.all, *stand_in.responses.all] == []
