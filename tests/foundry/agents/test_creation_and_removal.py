"""The agents of a project are brought to what they should be, and removed with all that is ours and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.foundry.agents.foundry_errors import RefusedError, UnavailableError
from app.foundry.agents.project_client import AgentVersion
from app.local.foundry_stand_in.conversations import Conversation
from tests.foundry.agents.conftest import QUICK, ProgramHarness

CREATE_VERSION = "POST /agents/{name}/versions"
MARK = {"made_by": "databricks-agent-for-teams", "installation": "databricks"}
SPECIALIST, ORCHESTRATOR = "databricks-specialist", "databricks-orchestrator"


def versions(harness: ProgramHarness) -> dict[str, list[str]]:
    return {name: [each["version"] for each in found] for name, found in harness.stand_in.agents.versions.items()}


async def somebody_elses(harness: ProgramHarness, name: str = "theirs", **metadata: str) -> AgentVersion:
    definition = {"kind": "prompt", "model": "gpt-5.1"}
    return await harness.project.create_version(name, definition, "", metadata)


def tools_of(harness: ProgramHarness, name: str) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = harness.stand_in.agents.versions[name][-1]["definition"]["tools"]
    return tools


async def test_the_specialist_has_the_queue_tools_and_the_orchestrator_delegates_to_it(harness: ProgramHarness) -> None:
    await harness.orchestrator(FOUNDRY_TOOL_NAME="dev-ask", FOUNDRY_TOOLS="ask,ask_data").create()
    bound = [
        (tool["azure_function"]["function"]["name"], queue["storage_queue"]["queue_name"])
        for tool in tools_of(harness, SPECIALIST)
        for queue in (tool["azure_function"]["input_binding"], tool["azure_function"]["output_binding"])
    ]
    assert bound == [
        ("ask", "azure-function-dev-ask-input"),
        ("ask", "azure-function-dev-ask-output"),
        ("ask_data", "azure-function-ask-data-input"),
        ("ask_data", "azure-function-ask-data-output"),
    ]
    assert [(each["type"], each["name"]) for each in tools_of(harness, ORCHESTRATOR)] == [
        ("function", "ask_specialist")
    ]


async def test_over_mcp_no_approval_is_needed_and_only_our_tools_are_allowed(harness: ProgramHarness) -> None:
    url = "https://app.example/api/mcp"
    await harness.orchestrator(FOUNDRY_MCP_URL=url, FOUNDRY_MCP_CONNECTION="key", FOUNDRY_TOOLS="ask").create()
    (tool,) = tools_of(harness, SPECIALIST)
    assert tool == {
        "type": "mcp",
        "server_label": "databricks",
        "server_url": url,
        "allowed_tools": ["ask", "get_result"],
        "require_approval": "never",
        "project_connection_id": "key",
    }
    instructions = harness.stand_in.agents.versions[SPECIALIST][-1]["definition"]["instructions"]
    assert "returns a handle instead of an answer, call get_result with it" in instructions


async def test_creating_again_makes_no_new_version(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    await harness.orchestrator().create()
    assert versions(harness) == {SPECIALIST: ["1"], ORCHESTRATOR: ["1"]}
    assert "is as it should be" in harness.text()


async def test_what_the_service_adds_of_its_own_is_no_difference(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    definition = harness.stand_in.agents.versions[SPECIALIST][-1]["definition"]
    definition |= {"temperature": 1.0, "rai_config": None}
    definition["tools"][0]["azure_function"]["function"]["strict"] = False
    await harness.orchestrator().create()
    assert versions(harness)[SPECIALIST] == ["1"]


@pytest.mark.parametrize("change", [{"instructions": "Do as you like."}, {"tools": []}, {"model": "gpt-4.1"}])
async def test_a_version_that_was_changed_by_hand_is_put_right(harness: ProgramHarness, change: dict[str, Any]) -> None:
    await harness.orchestrator().create()
    harness.stand_in.agents.versions[SPECIALIST][-1]["definition"] |= change
    await harness.orchestrator().create()
    assert versions(harness)[SPECIALIST] == ["1", "2"]


async def test_old_versions_of_its_own_are_pruned_but_the_one_that_may_be_in_use(harness: ProgramHarness) -> None:
    for name in ("a", "b", "c", "d"):
        await harness.orchestrator(FOUNDRY_TOOL_NAME=name).create()
    assert versions(harness) == {SPECIALIST: ["3", "4"], ORCHESTRATOR: ["1"]}


async def test_a_version_of_somebody_else_is_not_pruned(harness: ProgramHarness) -> None:
    for name in ("a", "b", "c", "d"):
        await harness.orchestrator(FOUNDRY_TOOL_NAME=name).create()
        if name == "b":
            harness.stand_in.agents.versions[SPECIALIST][0]["metadata"] = {"made_by": "somebody"}
    assert versions(harness)[SPECIALIST] == ["1", "3", "4"]


async def test_a_smaller_scale_factor_removes_specialists(harness: ProgramHarness) -> None:
    await harness.orchestrator(FOUNDRY_SCALE_FACTOR="3").create()
    assert set(versions(harness)) == {SPECIALIST, f"{SPECIALIST}-2", f"{SPECIALIST}-3", ORCHESTRATOR}
    await somebody_elses(harness)
    await harness.orchestrator().create()
    assert set(versions(harness)) == {SPECIALIST, ORCHESTRATOR, "theirs"}


async def test_an_agent_of_somebody_else_with_that_name_is_not_touched(harness: ProgramHarness) -> None:
    await somebody_elses(harness, ORCHESTRATOR)
    with pytest.raises(RefusedError, match="Choose another FOUNDRY_AGENT_NAME"):
        await harness.orchestrator().create()
    assert versions(harness) == {ORCHESTRATOR: ["1"]}, "the specialist, which was made before, is gone again"


@pytest.mark.parametrize(("status", "carried_out"), [(500, False), (500, True), (429, False)])
async def test_a_version_whose_making_was_not_answered_is_made_once(
    harness: ProgramHarness, status: int, carried_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.foundry.agents.creation._BACKOFF", QUICK)
    harness.stand_in.faults.add(CREATE_VERSION, status, after=carried_out)
    await harness.orchestrator().create()
    assert versions(harness) == {SPECIALIST: ["1"], ORCHESTRATOR: ["1"]}


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize("skipped", [0, 1])
async def test_a_failure_in_the_middle_leaves_what_was_there_before(
    harness: ProgramHarness, skipped: int, carried_out: bool
) -> None:
    harness.stand_in.faults.add(CREATE_VERSION, 400, skipped=skipped, after=carried_out)
    with pytest.raises(RefusedError):
        await harness.orchestrator().create()
    assert versions(harness) == {}
    await harness.orchestrator(FOUNDRY_TOOL_NAME="a").create()
    before = versions(harness)
    harness.stand_in.faults.add(CREATE_VERSION, 400, after=carried_out)
    with pytest.raises(RefusedError):
        await harness.orchestrator(FOUNDRY_TOOL_NAME="b").create()
    assert versions(harness) == before


@pytest.mark.parametrize("skipped", [0, 1])
async def test_an_interrupted_creation_leaves_nothing(harness: ProgramHarness, skipped: int) -> None:
    fault = harness.stand_in.faults.add(CREATE_VERSION, None, after=True, skipped=skipped)
    creating = asyncio.create_task(harness.orchestrator().create())
    await fault.reached.wait()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert versions(harness) == {}


async def test_what_an_interrupted_creation_could_not_remove_is_found_by_delete(harness: ProgramHarness) -> None:
    harness.stand_in.faults.add(CREATE_VERSION, 400, skipped=1)
    harness.stand_in.faults.add("DELETE /agents/{name}", 500, times=4)
    with pytest.raises(RefusedError):
        await harness.orchestrator().create()
    assert "run delete" in harness.text()
    assert versions(harness) == {SPECIALIST: ["1"]}
    assert await harness.orchestrator().delete() == ()
    assert harness.stand_in.left() == []


async def test_delete_removes_all_that_is_ours_and_nothing_else(
    harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.orchestrator(FOUNDRY_SCALE_FACTOR="2").create()
    await harness.orchestrator(FOUNDRY_AGENT_NAME="other").create()
    await somebody_elses(harness)
    theirs = await harness.project.create_conversation({"made_by": "somebody"})
    unmarked = await harness.project.create_conversation({})
    others = await harness.project.create_conversation(MARK | {"installation": "other"})
    monkeypatch.setattr("app.foundry.agents.project_client._PAGE_ITEMS", 2)
    for number in range(5):
        harness.stand_in.conversations.all[f"conv_{number}"] = Conversation(f"conv_{number}", 0, dict(MARK))
    assert await harness.orchestrator().delete() == ()
    assert set(versions(harness)) == {"theirs", "other-specialist", "other-orchestrator"}
    assert set(harness.stand_in.conversations.all) == {theirs, unmarked, others}


async def test_delete_finds_what_a_killed_question_left_and_cancels_it_first(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    harness.stand_in.runs.ends.append("stuck")
    conversation = await harness.project.create_conversation(MARK)
    reference = {"type": "agent_reference", "name": ORCHESTRATOR, "version": "1"}
    asked = {"input": "How many?", "background": True, "metadata": MARK, "agent_reference": reference}
    await harness.project.create_response(asked | {"conversation": conversation}, "")
    before = len(harness.stand_in.faults.calls)
    assert await harness.orchestrator().delete() == ()
    removed = [call for call in harness.stand_in.faults.calls[before:] if not call.startswith("GET")]
    order = ["POST /openai/v1/responses/{id}/cancel", "DELETE /agents/{name}", "DELETE /agents/{name}"]
    assert removed[:5] == [*order, "DELETE /openai/v1/responses/{id}", "DELETE /openai/v1/conversations/{id}"]
    lines = [line for line in harness.lines if line.endswith(": removed")]
    assert lines[:2] == [f"{ORCHESTRATOR}: removed", f"{SPECIALIST}: removed"]
    assert harness.stand_in.left() == []
    assert harness.stand_in.responses.all == {}


async def test_deleting_again_is_no_failure(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    assert await harness.orchestrator().delete() == ()
    assert await harness.orchestrator().delete() == ()


async def test_what_is_gone_meanwhile_counts_as_deleted(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    harness.stand_in.faults.add("DELETE /agents/{name}", 404, after=True, times=2)
    assert await harness.orchestrator().delete() == ()
    assert harness.stand_in.left() == []


async def test_a_step_that_fails_keeps_no_other_from_being_done_and_is_listed(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    await harness.project.create_conversation(MARK)
    harness.stand_in.faults.add("DELETE /agents/{name}", 500, times=4)
    (left,) = await harness.orchestrator().delete()
    assert left.startswith(f"agent {ORCHESTRATOR}: Foundry failed to delete the agent")
    assert harness.stand_in.left() == [ORCHESTRATOR]
    assert await harness.orchestrator().delete() == ()
    assert harness.stand_in.left() == []


async def test_of_an_agent_with_versions_of_others_only_ours_are_deleted(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    await somebody_elses(harness, SPECIALIST)
    assert await harness.orchestrator().delete() == ()
    assert versions(harness) == {SPECIALIST: ["2"]}


async def test_without_rights_delete_says_which_are_missing(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    harness.stand_in.denied.add("delete")
    left = await harness.orchestrator().delete()
    assert [line.partition(":")[0] for line in left] == [f"agent {ORCHESTRATOR}", f"agent {SPECIALIST}"]
    assert all(
        "lacks the data action Microsoft.CognitiveServices/accounts/AIServices/agents/delete" in each for each in left
    )


async def test_a_foundry_that_is_away_is_said_to_be(harness: ProgramHarness) -> None:
    harness.stand_in.faults.add("GET /agents/{name}", 503, times=20)
    with pytest.raises(UnavailableError, match="HTTP 503"):
        await harness.orchestrator().create()
