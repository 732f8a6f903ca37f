"""The agents of a project are brought to what they should be, and removed with all that is ours and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.foundry.agents.foundry_errors import RefusedError, UnavailableError
from app.foundry.agents.project_client import AgentVersion
from app.local.foundry_stand_in.conversations import Conversation
from tests.foundry.agents.conftest import QUICK, Desk

CREATE_VERSION = "POST /agents/{name}/versions"
MARK = {"made_by": "databricks-agent-for-teams", "installation": "databricks"}
SPECIALIST, ORCHESTRATOR = "databricks-specialist", "databricks-orchestrator"


def versions(desk: Desk) -> dict[str, list[str]]:
    return {name: [each["version"] for each in found] for name, found in desk.stand_in.agents.versions.items()}


async def somebody_elses(desk: Desk, name: str = "theirs", **metadata: str) -> AgentVersion:
    definition = {"kind": "prompt", "model": "gpt-5.1"}
    return await desk.project.create_version(name, definition, "", metadata)


def tools_of(desk: Desk, name: str) -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = desk.stand_in.agents.versions[name][-1]["definition"]["tools"]
    return tools


async def test_the_specialist_has_the_queue_tools_and_the_orchestrator_delegates_to_it(desk: Desk) -> None:
    await desk.orchestrator(FOUNDRY_TOOL_NAME="dev-ask", FOUNDRY_TOOLS="ask,ask_data").create()
    bound = [
        (tool["azure_function"]["function"]["name"], queue["storage_queue"]["queue_name"])
        for tool in tools_of(desk, SPECIALIST)
        for queue in (tool["azure_function"]["input_binding"], tool["azure_function"]["output_binding"])
    ]
    assert bound == [
        ("ask", "azure-function-dev-ask-input"),
        ("ask", "azure-function-dev-ask-output"),
        ("ask_data", "azure-function-ask-data-input"),
        ("ask_data", "azure-function-ask-data-output"),
    ]
    assert [(each["type"], each["name"]) for each in tools_of(desk, ORCHESTRATOR)] == [("function", "ask_specialist")]


async def test_over_mcp_no_approval_is_needed_and_only_our_tools_are_allowed(desk: Desk) -> None:
    url = "https://app.example/api/mcp"
    await desk.orchestrator(FOUNDRY_MCP_URL=url, FOUNDRY_MCP_CONNECTION="key", FOUNDRY_TOOLS="ask").create()
    (tool,) = tools_of(desk, SPECIALIST)
    assert tool == {
        "type": "mcp",
        "server_label": "databricks",
        "server_url": url,
        "allowed_tools": ["ask", "get_result"],
        "require_approval": "never",
        "project_connection_id": "key",
    }


async def test_creating_again_makes_no_new_version(desk: Desk) -> None:
    await desk.orchestrator().create()
    await desk.orchestrator().create()
    assert versions(desk) == {SPECIALIST: ["1"], ORCHESTRATOR: ["1"]}
    assert "is as it should be" in desk.text()


async def test_what_the_service_adds_of_its_own_is_no_difference(desk: Desk) -> None:
    await desk.orchestrator().create()
    definition = desk.stand_in.agents.versions[SPECIALIST][-1]["definition"]
    definition |= {"temperature": 1.0, "rai_config": None}
    definition["tools"][0]["azure_function"]["function"]["strict"] = False
    await desk.orchestrator().create()
    assert versions(desk)[SPECIALIST] == ["1"]


@pytest.mark.parametrize("change", [{"instructions": "Do as you like."}, {"tools": []}, {"model": "gpt-4.1"}])
async def test_a_version_that_was_changed_by_hand_is_put_right(desk: Desk, change: dict[str, Any]) -> None:
    await desk.orchestrator().create()
    desk.stand_in.agents.versions[SPECIALIST][-1]["definition"] |= change
    await desk.orchestrator().create()
    assert versions(desk)[SPECIALIST] == ["1", "2"]


async def test_old_versions_of_its_own_are_pruned_but_the_one_that_may_be_in_use(desk: Desk) -> None:
    for name in ("a", "b", "c", "d"):
        await desk.orchestrator(FOUNDRY_TOOL_NAME=name).create()
    assert versions(desk) == {SPECIALIST: ["3", "4"], ORCHESTRATOR: ["1"]}


async def test_a_smaller_scale_factor_removes_specialists(desk: Desk) -> None:
    await desk.orchestrator(FOUNDRY_SCALE_FACTOR="3").create()
    assert set(versions(desk)) == {SPECIALIST, f"{SPECIALIST}-2", f"{SPECIALIST}-3", ORCHESTRATOR}
    await somebody_elses(desk)
    await desk.orchestrator().create()
    assert set(versions(desk)) == {SPECIALIST, ORCHESTRATOR, "theirs"}


async def test_an_agent_of_somebody_else_with_that_name_is_not_touched(desk: Desk) -> None:
    await somebody_elses(desk, ORCHESTRATOR)
    with pytest.raises(RefusedError, match="Choose another FOUNDRY_AGENT_NAME"):
        await desk.orchestrator().create()
    assert versions(desk) == {ORCHESTRATOR: ["1"]}, "the specialist, which was made before, is gone again"


@pytest.mark.parametrize(("status", "carried_out"), [(500, False), (500, True), (429, False)])
async def test_a_version_whose_making_was_not_answered_is_made_once(
    desk: Desk, status: int, carried_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.foundry.agents.creation._BACKOFF", QUICK)
    desk.stand_in.faults.add(CREATE_VERSION, status, after=carried_out)
    await desk.orchestrator().create()
    assert versions(desk) == {SPECIALIST: ["1"], ORCHESTRATOR: ["1"]}


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize("skipped", [0, 1])
async def test_a_failure_in_the_middle_leaves_what_was_there_before(
    desk: Desk, skipped: int, carried_out: bool
) -> None:
    desk.stand_in.faults.add(CREATE_VERSION, 400, skipped=skipped, after=carried_out)
    with pytest.raises(RefusedError):
        await desk.orchestrator().create()
    assert versions(desk) == {}
    await desk.orchestrator(FOUNDRY_TOOL_NAME="a").create()
    before = versions(desk)
    desk.stand_in.faults.add(CREATE_VERSION, 400, after=carried_out)
    with pytest.raises(RefusedError):
        await desk.orchestrator(FOUNDRY_TOOL_NAME="b").create()
    assert versions(desk) == before


@pytest.mark.parametrize("skipped", [0, 1])
async def test_an_interrupted_creation_leaves_nothing(desk: Desk, skipped: int) -> None:
    fault = desk.stand_in.faults.add(CREATE_VERSION, None, after=True, skipped=skipped)
    creating = asyncio.create_task(desk.orchestrator().create())
    await fault.reached.wait()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert versions(desk) == {}


async def test_what_an_interrupted_creation_could_not_remove_is_found_by_delete(desk: Desk) -> None:
    desk.stand_in.faults.add(CREATE_VERSION, 400, skipped=1)
    desk.stand_in.faults.add("DELETE /agents/{name}", 500, times=4)
    with pytest.raises(RefusedError):
        await desk.orchestrator().create()
    assert "run delete" in desk.text()
    assert versions(desk) == {SPECIALIST: ["1"]}
    assert await desk.orchestrator().delete() == ()
    assert desk.stand_in.left() == []


async def test_delete_removes_all_that_is_ours_and_nothing_else(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.orchestrator(FOUNDRY_SCALE_FACTOR="2").create()
    await desk.orchestrator(FOUNDRY_AGENT_NAME="other").create()
    await somebody_elses(desk)
    theirs = await desk.project.create_conversation({"made_by": "somebody"})
    unmarked = await desk.project.create_conversation({})
    others = await desk.project.create_conversation(MARK | {"installation": "other"})
    monkeypatch.setattr("app.foundry.agents.project_client._PAGE_ITEMS", 2)
    for number in range(5):
        desk.stand_in.conversations.all[f"conv_{number}"] = Conversation(f"conv_{number}", 0, dict(MARK))
    assert await desk.orchestrator().delete() == ()
    assert set(versions(desk)) == {"theirs", "other-specialist", "other-orchestrator"}
    assert set(desk.stand_in.conversations.all) == {theirs, unmarked, others}


async def test_delete_finds_what_a_killed_question_left_and_cancels_it_first(desk: Desk) -> None:
    await desk.orchestrator().create()
    desk.stand_in.runs.ends.append("stuck")
    conversation = await desk.project.create_conversation(MARK)
    reference = {"type": "agent_reference", "name": ORCHESTRATOR, "version": "1"}
    asked = {"input": "How many?", "background": True, "metadata": MARK, "agent_reference": reference}
    await desk.project.create_response(asked | {"conversation": conversation}, "")
    before = len(desk.stand_in.faults.calls)
    assert await desk.orchestrator().delete() == ()
    removed = [call for call in desk.stand_in.faults.calls[before:] if not call.startswith("GET")]
    order = ["POST /openai/v1/responses/{id}/cancel", "DELETE /agents/{name}", "DELETE /agents/{name}"]
    assert removed[:5] == [*order, "DELETE /openai/v1/responses/{id}", "DELETE /openai/v1/conversations/{id}"]
    lines = [line for line in desk.lines if line.endswith(": removed")]
    assert lines[:2] == [f"{ORCHESTRATOR}: removed", f"{SPECIALIST}: removed"]
    assert desk.stand_in.left() == []
    assert desk.stand_in.responses.all == {}


async def test_deleting_again_is_no_failure(desk: Desk) -> None:
    await desk.orchestrator().create()
    assert await desk.orchestrator().delete() == ()
    assert await desk.orchestrator().delete() == ()


async def test_what_is_gone_meanwhile_counts_as_deleted(desk: Desk) -> None:
    await desk.orchestrator().create()
    desk.stand_in.faults.add("DELETE /agents/{name}", 404, after=True, times=2)
    assert await desk.orchestrator().delete() == ()
    assert desk.stand_in.left() == []


async def test_a_step_that_fails_keeps_no_other_from_being_done_and_is_listed(desk: Desk) -> None:
    await desk.orchestrator().create()
    await desk.project.create_conversation(MARK)
    desk.stand_in.faults.add("DELETE /agents/{name}", 500, times=4)
    (left,) = await desk.orchestrator().delete()
    assert left.startswith(f"agent {ORCHESTRATOR}: Foundry failed to delete the agent")
    assert desk.stand_in.left() == [ORCHESTRATOR]
    assert await desk.orchestrator().delete() == ()
    assert desk.stand_in.left() == []


async def test_of_an_agent_with_versions_of_others_only_ours_are_deleted(desk: Desk) -> None:
    await desk.orchestrator().create()
    await somebody_elses(desk, SPECIALIST)
    assert await desk.orchestrator().delete() == ()
    assert versions(desk) == {SPECIALIST: ["2"]}


async def test_without_rights_delete_says_which_are_missing(desk: Desk) -> None:
    await desk.orchestrator().create()
    desk.stand_in.denied.add("delete")
    left = await desk.orchestrator().delete()
    assert [line.partition(":")[0] for line in left] == [f"agent {ORCHESTRATOR}", f"agent {SPECIALIST}"]
    assert all(
        "lacks the data action Microsoft.CognitiveServices/accounts/AIServices/agents/delete" in each for each in left
    )


async def test_a_foundry_that_is_away_is_said_to_be(desk: Desk) -> None:
    desk.stand_in.faults.add("GET /agents/{name}", 503, times=20)
    with pytest.raises(UnavailableError, match="HTTP 503"):
        await desk.orchestrator().create()
