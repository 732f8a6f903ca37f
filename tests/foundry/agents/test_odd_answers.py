"""Answers of the service in which something is missing, or comes again, or is of another kind."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import ServiceRequestError
from azure.identity import CredentialUnavailableError

from app.foundry.agents.foundry_calls import Repeat
from app.foundry.agents.foundry_errors import NotFoundError, RefusedError, UnavailableError
from app.local.foundry_stand_in.conversations import Conversation
from tests.foundry.agents.conftest import QUICK, ProgramHarness, quick_calls
from tests.foundry.agents.test_command import run
from tests.foundry.agents.test_creation_and_removal import MARK, ORCHESTRATOR, SPECIALIST, somebody_elses, versions

PAGE = "<html><body>Sign in to the network</body></html>"


def agent(name: str, **fields: Any) -> dict[str, Any]:
    return {"object": "agent", "id": name, "name": name, **fields}


def listed(*data: Any, last_id: str | None = None) -> str:
    return json.dumps({"object": "list", "data": list(data), "last_id": last_id, "has_more": last_id is not None})


async def test_agents_without_a_version_or_metadata_are_passed_over(harness: ProgramHarness) -> None:
    odd = (
        agent("a"),
        agent("b", versions=None),
        agent("c", versions={}),
        agent("d", versions={"latest": None}),
        agent("e", versions={"latest": {"name": "e", "version": 7, "metadata": None, "definition": None}}),
    )
    harness.stand_in.faults.add("GET /agents", 200, body=listed(*odd))
    (found,) = await harness.project.agents()
    assert (found.name, found.version, found.metadata, found.definition) == ("e", "7", {}, {})


@pytest.mark.parametrize("fields", [{}, {"versions": None}, {"versions": {}}, {"versions": {"latest": None}}])
async def test_an_agent_that_has_no_version_yet_gets_one(harness: ProgramHarness, fields: dict[str, Any]) -> None:
    harness.stand_in.faults.add("GET /agents/{name}", 200, times=2, body=json.dumps(agent(SPECIALIST, **fields)))
    await harness.orchestrator().create()
    assert versions(harness) == {SPECIALIST: ["1"], ORCHESTRATOR: ["1"]}


@pytest.mark.parametrize("body", ['{"data": 7}', "[]", "7", PAGE])
@pytest.mark.parametrize("call", ["GET /agents", "GET /openai/v1/conversations"])
async def test_a_list_that_is_none_is_no_empty_one(harness: ProgramHarness, call: str, body: str) -> None:
    """Nothing would be found, and all called removed."""
    harness.stand_in.faults.add(call, 200, times=4, body=body)
    listing = harness.project.agents if call == "GET /agents" else harness.project.conversations
    with pytest.raises(UnavailableError, match="no answer that can be read"):
        await listing()


async def test_what_is_no_item_of_a_list_is_passed_over(harness: ProgramHarness) -> None:
    harness.stand_in.faults.add("GET /agents", 200, body=listed(7, None, []))
    assert await harness.project.agents() == ()
    for body in (listed(7, None, {}), '{"data": null, "has_more": true}', "{}"):
        harness.stand_in.faults.add("GET /openai/v1/conversations", 200, body=body)
        assert await harness.project.conversations() == ()


async def test_a_page_that_comes_again_ends_the_list(harness: ProgramHarness) -> None:
    same = listed(agent("a", versions={"latest": {"name": "a", "version": "1"}}), last_id="a")
    harness.stand_in.faults.add("GET /agents", 200, times=50, body=same)
    assert [each.name for each in await harness.project.agents()] == ["a"]
    assert harness.stand_in.faults.calls.count("GET /agents") == 2


async def test_only_the_page_that_failed_is_asked_for_again(
    harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.foundry.agents.project_client._PAGE_ITEMS", 1)
    for name in "abc":
        await somebody_elses(harness, name)
    harness.stand_in.faults.add("GET /agents", 503, skipped=1)
    harness.stand_in.faults.add("GET /agents", 200, skipped=1, body=PAGE)
    assert sorted(each.name for each in await harness.project.agents()) == ["a", "b", "c"]
    assert harness.stand_in.faults.calls.count("GET /agents") == 6, "four pages, of which the last is empty"


async def test_a_list_that_is_not_there_is_said_to_be_left(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    harness.stand_in.faults.add("GET /openai/v1/conversations", 404)
    (left,) = await harness.orchestrator().delete()
    assert left.startswith("conversations, which could not be listed")
    harness.stand_in.faults.add("GET /openai/v1/responses", 404)
    assert await harness.project.responses("nobody") == ()
    harness.stand_in.faults.add("GET /openai/v1/conversations", 404)
    with pytest.raises(NotFoundError):
        await harness.project.conversations()


async def test_a_page_in_place_of_a_deletion_is_no_deletion(harness: ProgramHarness) -> None:
    harness.stand_in.conversations.all["conv_1"] = Conversation("conv_1", 0, dict(MARK))
    harness.stand_in.faults.add("DELETE /openai/v1/conversations/{id}", 200, times=4, body=PAGE)
    (left,) = await harness.orchestrator().delete()
    assert left.startswith("conversation conv_1: ")


async def test_a_response_that_ended_before_it_was_cancelled_is_not_left(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    harness.stand_in.runs.ends.append("stuck")
    reference = {"type": "agent_reference", "name": ORCHESTRATOR, "version": "1"}
    asked = {"input": "How many?", "background": True, "metadata": MARK, "agent_reference": reference}
    await harness.project.create_response(asked, "")
    harness.stand_in.faults.add("POST /openai/v1/responses/{id}/cancel", 400)
    assert await harness.orchestrator().delete() == ()
    assert harness.stand_in.responses.all == {}


async def test_a_copy_of_one_of_ours_under_another_name_is_not_touched(harness: ProgramHarness) -> None:
    """Foundry's portal copies the metadata too."""
    await harness.orchestrator(FOUNDRY_SCALE_FACTOR="2").create()
    for name in ("my-copy", "databricks-specialist-copy", "databricks"):
        await somebody_elses(harness, name, **MARK)
    await harness.orchestrator().create()
    assert await harness.orchestrator().delete() == ()
    assert set(versions(harness)) == {"my-copy", "databricks-specialist-copy", "databricks"}


async def test_a_specialist_too_many_keeps_the_versions_of_others(harness: ProgramHarness) -> None:
    await harness.orchestrator(FOUNDRY_SCALE_FACTOR="2").create()
    await somebody_elses(harness, f"{SPECIALIST}-2")
    await somebody_elses(harness, f"{SPECIALIST}-2", **MARK)
    await harness.orchestrator().create()
    assert versions(harness)[f"{SPECIALIST}-2"] == ["2"]


async def test_what_cannot_be_undone_keeps_nothing_else_from_being_undone(harness: ProgramHarness) -> None:
    harness.stand_in.faults.add("POST /agents/{name}/versions", 400, skipped=2)
    harness.stand_in.faults.add("DELETE /agents/{name}", 403)
    with pytest.raises(Exception, match="HTTP 400"):
        await harness.orchestrator(FOUNDRY_SCALE_FACTOR="2").create()
    assert versions(harness) == {f"{SPECIALIST}-2": ["1"]}
    assert f"Not everything could be removed ({SPECIALIST}-2): run delete." in harness.text()


async def test_a_second_interruption_says_what_is_left(harness: ProgramHarness) -> None:
    made = harness.stand_in.faults.add("POST /agents/{name}/versions", None, after=True)
    removing = harness.stand_in.faults.add("GET /agents/{name}/versions", None)
    creating = asyncio.create_task(harness.orchestrator().create())
    for fault in (made, removing):
        await fault.reached.wait()
        creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert f"Not everything could be removed ({SPECIALIST}): run delete." in harness.text()


async def test_a_server_that_hangs_up_may_have_carried_out_the_request() -> None:
    """azure-core says "request error" for it: https://github.com/Azure/azure-sdk-for-python/issues/39448"""
    asked = 0

    async def hung_up() -> None:
        nonlocal asked
        asked += 1
        cause = aiohttp.ServerDisconnectedError()
        raise ServiceRequestError(str(cause), error=cause) from cause

    with pytest.raises(UnavailableError) as raised:
        await quick_calls().make("try", hung_up, Repeat.IF_REFUSED)
    assert asked == 1
    assert not raised.value.was_refused


async def test_a_version_is_not_waited_for_longer_than_two_minutes(
    harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.foundry.agents.creation._BACKOFF", QUICK)
    harness.stand_in.faults.add("POST /agents/{name}/versions", 429, retry_after_seconds=3600)
    with pytest.raises(UnavailableError, match="asks to wait 3600 s"):
        await harness.orchestrator().create()
    assert versions(harness) == {}


async def test_agents_may_be_named_after_a_project(harness: ProgramHarness) -> None:
    """What is not there is told by name."""
    named = {"FOUNDRY_AGENT_NAME": "project-x", "FOUNDRY_SCALE_FACTOR": "2"}
    await harness.orchestrator(**named).create()
    assert (await harness.orchestrator(**named).ask("How many?", 20)).text
    assert await harness.orchestrator(**named).delete() == ()
    assert harness.stand_in.left() == []


@pytest.mark.parametrize("said", ["Project not found", "The project does not exist.", "Project 'x' was not found"])
async def test_a_project_that_is_not_there_is_no_missing_agent(harness: ProgramHarness, said: str) -> None:
    harness.stand_in.faults.add("GET /agents/{name}", 404, body=json.dumps({"error": {"code": "404", "message": said}}))
    with pytest.raises(RefusedError, match="no such project: check PROJECT_ENDPOINT_ENT"):
        await harness.orchestrator().create()


async def test_a_sign_in_that_fails_is_a_refusal(
    harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where openai's package asks for the token."""

    async def no_token(*_: object, **__: object) -> None:
        raise CredentialUnavailableError("DefaultAzureCredential failed\nAADSTS700082: The refresh token has expired")

    await harness.orchestrator().create()
    monkeypatch.setattr("app.foundry.agents.sign_in._LocalCredential.get_token", no_token)
    assert await run(harness, "ask", "How many?") == 1
    assert "There is no sign-in to Azure (AADSTS700082)" in capsys.readouterr().err


async def test_a_question_that_is_interrupted_twice_says_that_something_may_be_left(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    asked = harness.stand_in.faults.add("GET /openai/v1/responses/{id}", None)
    removing = harness.stand_in.faults.add("POST /openai/v1/responses/{id}/cancel", None)
    asking = asyncio.create_task(harness.orchestrator().ask("How many?", 20))
    for fault in (asked, removing):
        await fault.reached.wait()
        asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert "left: what the question made, perhaps" in harness.text()
    assert await harness.orchestrator().delete() == ()
    assert (harness.stand_in.conversations.all, harness.stand_in.responses.all) == ({}, {})


async def test_undoing_has_a_time_limit(harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.foundry.agents.creation._UNDO_SECONDS", 0.1)
    harness.stand_in.faults.add("POST /agents/{name}/versions", 400, skipped=1)
    harness.stand_in.faults.add("GET /agents/{name}/versions", None)
    with pytest.raises(RefusedError):
        await harness.orchestrator().create()
    assert "There was no time for more." in harness.text()


async def test_removing_what_a_question_made_has_a_time_limit(
    harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.orchestrator().create()
    monkeypatch.setattr("app.foundry.agents.responses_orchestrator._CLEANUP_SECONDS", 0.1)
    harness.stand_in.faults.add("DELETE /openai/v1/conversations/{id}", None)
    async with asyncio.timeout(20):
        assert (await harness.orchestrator().ask("How many?", 60)).text
    assert "left: what the question made, for which there was no time" in harness.text()
