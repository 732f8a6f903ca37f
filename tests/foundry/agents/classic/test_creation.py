"""Classic agents are made, changed and replaced through the real azure-ai-agents client."""

from __future__ import annotations

import asyncio

import pytest

from app.foundry.agents.foundry_errors import RefusedError, UnavailableError
from tests.foundry.agents.classic.conftest import (
    CREATE,
    MARK,
    ORCHESTRATOR,
    SPECIALIST,
    ClassicProgramHarness,
)
from tests.foundry.agents.conftest import QUEUES


async def test_the_orchestrator_has_a_specialist_that_asks_our_function(harness: ClassicProgramHarness) -> None:
    await harness.orchestrator(FOUNDRY_TOOLS="ask", FOUNDRY_TOOL_NAME="dev-ask").create()
    agents = harness.agents()
    (connected,) = agents[ORCHESTRATOR]["tools"]
    assert connected["connected_agent"]["id"] == agents[SPECIALIST]["id"]
    assert connected["connected_agent"]["name"] == "connected_azure_function_agent"
    (tool,) = agents[SPECIALIST]["tools"]
    assert tool["azure_function"]["input_binding"]["storage_queue"] == {
        "queue_service_endpoint": QUEUES,
        "queue_name": "azure-function-dev-ask-input",
    }
    answer = await harness.orchestrator(FOUNDRY_TOOLS="ask").ask("How many?", 30)
    assert answer.text == "ask says 42 to How many?"
    assert answer.tool_calls == ("ask", "connected_azure_function_agent")
    assert not harness.stand_in.classic.threads, "the thread is removed"
    assert "POST /threads/{thread}/runs/{id}/cancel" not in harness.stand_in.faults.calls
    harness.lines.clear()
    assert await harness.orchestrator().delete() == ()
    assert [line.partition(":")[0] for line in harness.lines] == [ORCHESTRATOR, SPECIALIST]
    assert harness.stand_in.left() == []


async def test_creating_again_changes_only_what_differs(harness: ClassicProgramHarness) -> None:
    await harness.orchestrator().create()
    before = harness.agents()
    await harness.orchestrator().create()
    assert harness.stand_in.faults.calls.count(CREATE) == 2
    assert "POST /assistants/{id}" not in harness.stand_in.faults.calls
    before[SPECIALIST]["instructions"] = "Do as you like."
    await harness.orchestrator().create()
    assert harness.stand_in.faults.calls.count("POST /assistants/{id}") == 1
    assert harness.agents()[SPECIALIST]["instructions"] != "Do as you like."
    assert {each["id"] for each in harness.agents().values()} == {each["id"] for each in before.values()}


async def test_a_failure_while_agents_are_changed_removes_none(harness: ClassicProgramHarness) -> None:
    await harness.orchestrator().create()
    before = list(harness.stand_in.classic.all)
    harness.stand_in.faults.add("POST /assistants/{id}", 400, skipped=1)
    with pytest.raises(RefusedError):
        await harness.orchestrator(MODEL_DEPLOYMENT_NAME="gpt-5.1").create()
    assert list(harness.stand_in.classic.all) == before


async def test_specialists_stand_side_by_side_and_those_too_many_are_removed(harness: ClassicProgramHarness) -> None:
    await harness.orchestrator(FOUNDRY_SCALE_FACTOR="3").create()
    names = [tool["connected_agent"]["name"] for tool in harness.agents()[ORCHESTRATOR]["tools"]]
    assert names == [f"connected_azure_function_agent{end}" for end in ("", "_b", "_c")]
    await harness.orchestrator().create()
    assert set(harness.agents()) == {ORCHESTRATOR, SPECIALIST}


async def test_nothing_of_others_is_touched(harness: ClassicProgramHarness) -> None:
    theirs = await harness.project.create_agent({"model": "gpt-5.1", "name": ORCHESTRATOR})
    other = {"model": "gpt-5.1", "name": SPECIALIST, "metadata": MARK | {"installation": "prod"}}
    await harness.project.create_agent(other)
    thread = await harness.project.create_thread({"made_by": "somebody"})
    with pytest.raises(RefusedError, match="run create --classic first"):
        await harness.orchestrator().ask("How many?", 30)
    assert "GET /threads" not in harness.stand_in.faults.calls, "nothing was made that could be left"
    await harness.orchestrator().create()
    await harness.orchestrator().delete()
    assert [each["name"] for each in harness.stand_in.classic.all.values()] == [ORCHESTRATOR, SPECIALIST]
    assert theirs.id in harness.stand_in.classic.all
    assert list(harness.stand_in.classic.threads) == [thread]


async def test_a_lost_answer_to_the_creation_of_an_agent_makes_no_second_one(harness: ClassicProgramHarness) -> None:
    harness.stand_in.faults.add(CREATE, 503, after=True)
    await harness.orchestrator().create()
    assert harness.stand_in.faults.calls.count(CREATE) == 2
    assert sorted(each["name"] for each in harness.stand_in.classic.all.values()) == [ORCHESTRATOR, SPECIALIST]


async def test_a_second_agent_of_one_name_is_removed(harness: ClassicProgramHarness) -> None:
    await harness.project.create_agent({"model": "gpt-5.1", "name": SPECIALIST, "metadata": MARK})
    await harness.project.create_agent({"model": "gpt-5.1", "name": SPECIALIST, "metadata": MARK})
    await harness.orchestrator().create()
    assert sorted(each["name"] for each in harness.stand_in.classic.all.values()) == [ORCHESTRATOR, SPECIALIST]


async def test_an_agent_is_not_waited_for_longer_than_a_minute(harness: ClassicProgramHarness) -> None:
    harness.stand_in.faults.add(CREATE, 429, retry_after_seconds=3600)
    async with asyncio.timeout(20):
        with pytest.raises(UnavailableError, match="asks to wait 3600 s"):
            await harness.orchestrator().create()
    assert harness.stand_in.left() == []
