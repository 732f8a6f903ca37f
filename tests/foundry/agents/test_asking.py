"""A question to the agents: the whole loop of orchestrator and specialist over a stand-in of Foundry's REST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from app.foundry.agents.foundry_errors import FoundryError, NoEndError, RefusedError, UnavailableError
from app.local.foundry_stand_in.refusals import FailedToolCallError
from tests.foundry.agents.conftest import ProgramHarness, answered

CREATE_RESPONSE = "POST /openai/v1/responses"


def made(harness: ProgramHarness) -> list[str]:
    """What a question has left."""
    return [*harness.stand_in.conversations.all, *harness.stand_in.responses.all]


async def test_the_orchestrator_delegates_to_a_specialist_that_calls_the_tool(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    answer = await harness.orchestrator().ask("How many orders are there?", 60)
    assert answer.text == "ask says 42 to How many orders are there?"
    assert answer.tool_calls == ("ask",)
    assert made(harness) == []
    created = harness.stand_in.faults.calls.count(CREATE_RESPONSE)
    assert created == 3, "orchestrator, specialist, orchestrator"
    for said in ("trace ", "databricks-orchestrator: version 1", "conv_", "resp_", "completed"):
        assert said in harness.text()


async def test_an_answer_of_the_models_own_has_called_no_tool(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    assert (await harness.orchestrator().ask("hello there", 60)).tool_calls == ()


async def test_agents_that_are_not_as_the_settings_say_now_are_asked_with_a_warning(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    await harness.orchestrator().ask("hello there", 60)
    assert "warning" not in harness.text()
    await harness.orchestrator(FOUNDRY_TOOL_NAME="other").ask("hello there", 60)
    assert "warning: databricks-specialist is not as the settings say now" in harness.text()


async def test_questions_are_answered_side_by_side_by_as_many_specialists_as_there_are(harness: ProgramHarness) -> None:
    running, most = 0, 0

    async def slow(tool: Mapping[str, Any], correlation_id: str, arguments: Mapping[str, Any]) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.1)
        running -= 1
        return await answered(tool, correlation_id, arguments)

    harness.answer_with(slow)
    scaled = harness.orchestrator(FOUNDRY_SCALE_FACTOR="2")
    await scaled.create()
    answer = await scaled.ask("1. first\n2. second\n3. third", 60)
    assert answer.text.split("\n\n") == [f"ask says 42 to {each}" for each in ("first", "second", "third")]
    assert most == 2


async def test_without_agents_the_question_is_refused(harness: ProgramHarness) -> None:
    with pytest.raises(RefusedError, match="run create first"):
        await harness.orchestrator().ask("How many?", 60)
    assert made(harness) == []


async def test_an_agent_of_somebody_else_is_not_asked(harness: ProgramHarness) -> None:
    for name in ("databricks-orchestrator", "databricks-specialist"):
        await harness.project.create_version(name, {"kind": "prompt", "model": "gpt-5.1"}, "", {})
    with pytest.raises(RefusedError, match="no agent databricks-orchestrator of ours"):
        await harness.orchestrator().ask("How many?", 20)
    assert CREATE_RESPONSE not in harness.stand_in.faults.calls


async def test_a_function_that_is_not_ours_is_said_to_be_missing(harness: ProgramHarness) -> None:
    """Somebody has changed the orchestrator by hand, and kept its metadata."""
    await harness.orchestrator().create()
    tools = harness.stand_in.agents.versions["databricks-orchestrator"][-1]["definition"]["tools"]
    tools[0] = tools[0] | {"name": "launch"}
    answer = await harness.orchestrator().ask("How many?", 20)
    assert (answer.text, answer.tool_calls) == ("There is no function launch.", ())


async def test_an_orchestrator_that_only_delegates_comes_to_an_end(
    harness: ProgramHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.orchestrator().create()
    monkeypatch.setattr("app.foundry.agents.responses_orchestrator._MAX_ROUNDS", 1)
    with pytest.raises(NoEndError, match="still delegates after 1 rounds"):
        await harness.orchestrator().ask("How many?", 20)
    assert made(harness) == []


async def test_a_question_uses_the_version_that_it_began_with(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    used = []

    async def changed_meanwhile(tool: Mapping[str, Any], correlation_id: str, arguments: Mapping[str, Any]) -> str:
        await harness.orchestrator(FOUNDRY_TOOLS="ask").create()
        return await answered(tool, correlation_id, arguments)

    harness.answer_with(changed_meanwhile)
    record = harness.stand_in.responses._record

    def noted(body: dict[str, Any]) -> Any:
        used.append(body["agent_reference"]["version"])
        return record(body)

    harness.stand_in.responses._record = noted  # type: ignore[method-assign]
    await harness.orchestrator().ask("How many?", 60)
    assert used == ["1", "1", "1"]


async def test_every_end_is_said_and_nothing_is_left(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    ends: tuple[tuple[str, type[FoundryError], str], ...] = (
        ("incomplete", NoEndError, "incomplete"),
        ("content_filter", RefusedError, "content filter"),
        ("failed", NoEndError, "server_error"),
        ("expired", NoEndError, "expired"),
        ("cancelled", NoEndError, "was cancelled"),
        ("refusal", RefusedError, "I cannot help with that"),
        ("empty", NoEndError, "without an answer"),
        ("approval", RefusedError, "approval to call ask"),
        ("consent", RefusedError, "Open https://consent.example.com/login?data=x"),
    )
    for end, kind, said in ends:
        harness.stand_in.runs.ends.append(end)
        with pytest.raises(kind) as raised:
            await harness.orchestrator().ask("How many?", 60)
        assert said in str(raised.value)
        assert made(harness) == []


async def test_the_specialists_failure_is_told_by_the_orchestrator(harness: ProgramHarness) -> None:
    async def failing(*_: object) -> str:
        raise FailedToolCallError("The queue is not there.")

    harness.answer_with(failing)
    await harness.orchestrator().create()
    answer = await harness.orchestrator().ask("How many?", 60)
    assert "could not answer" in answer.text
    assert "The queue is not there." in answer.text


async def test_a_run_without_an_end_is_cancelled_at_the_time_limit(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    harness.stand_in.runs.ends.append("stuck")
    with pytest.raises(NoEndError, match="no answer within 2 s"):
        await harness.orchestrator().ask("How many?", 2)
    assert "POST /openai/v1/responses/{id}/cancel" in harness.stand_in.faults.calls
    assert made(harness) == []


@pytest.mark.parametrize("carried_out", [False, True])
async def test_a_question_is_never_put_twice(harness: ProgramHarness, carried_out: bool) -> None:
    await harness.orchestrator().create()
    harness.stand_in.faults.add(CREATE_RESPONSE, 500, after=carried_out)
    with pytest.raises(UnavailableError):
        await harness.orchestrator().ask("How many?", 60)
    assert harness.stand_in.faults.calls.count(CREATE_RESPONSE) == 1
    assert made(harness) == [], "also a response whose id was never heard"


@pytest.mark.parametrize("skipped", [0, 1, 2])
async def test_a_question_that_was_certainly_not_put_is_put_again(harness: ProgramHarness, skipped: int) -> None:
    """A conversation may be locked a moment longer than its response runs: https://community.openai.com/t/1355268"""
    locked = {"message": "Another process is currently operating on this conversation.", "code": "conversation_locked"}
    await harness.orchestrator().create()
    harness.stand_in.faults.add(CREATE_RESPONSE, 429, skipped=skipped)
    harness.stand_in.faults.add(CREATE_RESPONSE, 400, body=json.dumps({"error": locked}))
    assert (await harness.orchestrator().ask("How many?", 60)).text
    assert harness.stand_in.faults.calls.count(CREATE_RESPONSE) == 5
    assert harness.stand_in.faults.waiting == []
    assert made(harness) == []


async def test_what_may_be_repeated_is_repeated(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    for call, status in (
        ("GET /agents/{name}", 500),
        ("GET /openai/v1/responses/{id}", 503),
        ("DELETE /openai/v1/responses/{id}", 429),
        ("DELETE /openai/v1/conversations/{id}", 409),
    ):
        harness.stand_in.faults.add(call, status, times=2)
    assert (await harness.orchestrator().ask("How many?", 60)).text
    assert harness.stand_in.faults.waiting == []
    assert made(harness) == []


async def test_a_conversation_of_which_nobody_heard_is_removed(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    harness.stand_in.faults.add("POST /openai/v1/conversations", 500, after=True)
    with pytest.raises(UnavailableError):
        await harness.orchestrator().ask("How many?", 60)
    assert made(harness) == []


async def test_what_is_left_is_said(harness: ProgramHarness) -> None:
    await harness.orchestrator().create()
    harness.stand_in.faults.add("DELETE /openai/v1/conversations/{id}", 500, times=10)
    assert (await harness.orchestrator().ask("How many?", 60)).text
    (conversation,) = made(harness)
    assert f"left: conversation {conversation}" in harness.text()


@pytest.mark.parametrize("step", ["POST /openai/v1/conversations", CREATE_RESPONSE, "GET /openai/v1/responses/{id}"])
@pytest.mark.parametrize("skipped", [0, 1])
async def test_an_interrupted_question_leaves_nothing(harness: ProgramHarness, step: str, skipped: int) -> None:
    """As Ctrl-C does, at each step, while the call is carried out and its answer is on the way."""
    await harness.orchestrator().create()
    fault = harness.stand_in.faults.add(step, None, after=True, skipped=0 if "conversations" in step else skipped)
    asking = asyncio.create_task(harness.orchestrator().ask("How many?", 60))
    await fault.reached.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert made(harness) == []
