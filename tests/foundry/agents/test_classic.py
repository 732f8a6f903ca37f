"""Classic agents, through the real azure-ai-agents client: made, asked and removed, whatever fails on the way."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.foundry.agents.agent_settings import AgentProgramSettings, load_agent_settings
from app.foundry.agents.classic import connected_azure_function_agent
from app.foundry.agents.classic_client import ClassicProject, open_classic_project
from app.foundry.agents.classic_orchestrator import ClassicOrchestrator
from app.foundry.agents.classic_removal import ClassicRemoval
from app.foundry.agents.classic_run import answer_of, read_run, tool_calls_of
from app.foundry.agents.command import main
from app.foundry.agents.foundry_errors import FoundryError, NoEndError, RefusedError, UnavailableError
from app.foundry.tools.tool_definitions import tool_definitions
from app.local.foundry_stand_in.server import FoundryStandIn
from tests.fakes.foundry_project import served, until
from tests.foundry.agents.conftest import QUEUES, answered, quick_calls

ORCHESTRATOR, SPECIALIST = "databricks-orchestrator", "databricks-specialist"
CREATE = "POST /assistants"
MARK = {"made_by": "databricks-agent-for-teams", "installation": "databricks"}


@dataclass
class ClassicProgramHarness:
    stand_in: FoundryStandIn
    address: str
    project: ClassicProject
    lines: list[str] = field(default_factory=list)

    def environment(self, **given: str) -> dict[str, str]:
        needed = {"PROJECT_ENDPOINT_ENT": self.address, "MODEL_DEPLOYMENT_NAME": "gpt-5.1"}
        return needed | {"STORAGE_SERVICE_ENDPOINT": QUEUES} | given

    def settings(self, **given: str) -> AgentProgramSettings:
        return load_agent_settings(self.environment(**given))

    def orchestrator(self, **given: str) -> ClassicOrchestrator:
        settings = self.settings(**given)
        tools = tuple(tool_definitions(settings.tools, settings.genie).values())
        return ClassicOrchestrator(self.project, settings, tools, self.lines.append, poll_seconds=0.01)

    def agents(self) -> dict[str, dict[str, Any]]:
        return {agent["name"]: agent for agent in self.stand_in.classic.all.values()}

    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
async def harness() -> AsyncIterator[ClassicProgramHarness]:
    stand_in = FoundryStandIn()
    stand_in.queues.call = answered  # type: ignore[method-assign]
    async with served(stand_in) as address, open_classic_project(address, quick_calls()) as project:
        yield ClassicProgramHarness(stand_in, address, project)


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
        await harness.orchestrator(MODEL_DEPLOYMENT_NAME="gpt-4.1").create()
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


@pytest.mark.parametrize(
    ("end", "error", "said"),
    [
        ("incomplete", NoEndError, "incomplete (max_completion_tokens)"),
        ("content_filter", RefusedError, "content filter"),
        ("failed", NoEndError, "The run failed (server_error: Sorry.)"),
        ("expired", NoEndError, "ten minutes"),
        ("cancelled", NoEndError, "was cancelled"),
        ("approval", RefusedError, "asks for approval"),
        ("empty", NoEndError, "without an answer"),
        ("stuck", NoEndError, "no answer within 0.3 s"),
    ],
)
async def test_every_end_is_known_and_leaves_no_thread(
    harness: ClassicProgramHarness, end: str, error: type[FoundryError], said: str
) -> None:
    await harness.orchestrator().create()
    harness.stand_in.runs.ends.append(end)
    with pytest.raises(error) as raised:
        await harness.orchestrator().ask("How many?", 0.3 if end == "stuck" else 20)
    assert said in str(raised.value)
    assert not harness.stand_in.classic.threads
    assert not harness.stand_in.running()


async def test_an_answer_without_any_tool_names_none(harness: ClassicProgramHarness) -> None:
    await harness.orchestrator().create()
    harness.stand_in.runs.ends.append("no_tool")
    assert (await harness.orchestrator().ask("How many?", 30)).tool_calls == ()


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


_ASKING = ["POST /threads", "POST /threads/{id}/messages", "POST /threads/{thread}/runs"]
_READING = ["GET /threads/{thread}/runs/{id}", "GET /threads/{id}/messages", "GET /threads/{thread}/runs/{id}/steps"]


_DELETING = ["DELETE /threads/{id}", "DELETE /assistants/{id}"]


@pytest.mark.parametrize(("call", "status"), [*((each, 503) for each in _ASKING), (_ASKING[-1], 429)])
async def test_a_question_is_never_put_twice(harness: ClassicProgramHarness, call: str, status: int) -> None:
    await harness.orchestrator().create()
    harness.stand_in.faults.add(call, status, after=status == 503)
    with pytest.raises(UnavailableError):
        await harness.orchestrator().ask("How many?", 20)
    assert harness.stand_in.faults.calls.count(call) == 1
    assert not harness.stand_in.classic.threads


@pytest.mark.parametrize(
    ("call", "after"),
    [
        *((call, after) for call in (CREATE, *_ASKING, *_DELETING) for after in (False, True)),
        *((c, False) for c in _READING),
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


@pytest.mark.parametrize("call", [CREATE, *_ASKING, _READING[0]])
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


@pytest.mark.parametrize("call", [CREATE, *_ASKING, _READING[0], "DELETE /threads/{id}"])
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


async def test_one_function_makes_the_agents_asks_them_and_removes_them(
    harness: ClassicProgramHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in harness.environment(FOUNDRY_TOOLS="ask").items():
        monkeypatch.setenv(name, value)
    # In threads, as the project is served by the event loop of the test.
    answers: Sequence[str] = await asyncio.gather(
        asyncio.to_thread(connected_azure_function_agent, "How many?"),
        asyncio.to_thread(connected_azure_function_agent, "How much?"),
    )
    assert list(answers) == ["ask says 42 to How many?", "ask says 42 to How much?"]
    assert harness.stand_in.left() == []
    harness.stand_in.runs.ends.append("failed")
    with pytest.raises(NoEndError):
        await asyncio.to_thread(connected_azure_function_agent, "How many?")
    assert harness.stand_in.left() == []


async def test_the_command_uses_the_classic_way_where_it_is_told_to(
    harness: ClassicProgramHarness, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = harness.environment(FOUNDRY_TOOLS="ask")
    for arguments in (["preflight"], ["create"], ["ask", "How many?"], ["delete"]):
        assert await asyncio.to_thread(main, [*arguments, "--classic"], environment) == 0
    shown = capsys.readouterr()
    assert shown.out == "ask says 42 to How many?\n"
    assert "Foundry ends classic agents on 2027-03-31" in shown.err
    assert harness.stand_in.left() == []


async def test_where_the_package_is_missing_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.ai.agents.aio", None)
    with pytest.raises(RefusedError, match="foundry-classic"):
        async with open_classic_project("http://127.0.0.1:9/api/projects/p"):
            pass


@pytest.mark.parametrize(
    ("calls", "problem"),
    [
        ([{"type": "azure_function", "azure_function": {"name": "ask"}}], ""),
        ([], ""),
        ([{"type": "function", "function": {"name": "sum"}}], "waits for sum"),
    ],
)
def test_a_run_that_waits_for_an_azure_function_requires_no_action_of_ours(
    calls: list[dict[str, Any]], problem: str
) -> None:
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}
    run = read_run({"id": "run_1", "status": "requires_action", "required_action": action})
    assert problem in str(run.problem or "")
    assert bool(run.problem) == bool(problem)
    assert not run.has_ended


def test_odd_json_is_read_as_far_as_it_goes() -> None:
    for body in ({}, {"status": None}, {"status": "requires_action", "required_action": 7}, {"status": "pondering"}):
        run = read_run(body)
        assert run.problem is None
        assert not run.has_ended
    for error in (None, 7, {"code": 7}):
        assert isinstance(read_run({"status": "failed", "last_error": error}).problem, NoEndError)
    standard = {
        "code": "invalid",
        "message": "Invalid tool value(s): azure_function. Use the Enterprise Standard offering.",
    }
    assert "standard set-up" in str(read_run({"status": "failed", "last_error": standard}).problem)
    assert tool_calls_of([{}, {"step_details": {"tool_calls": [{"type": "bing"}, {}, 7]}}]) == ("bing", "", "")
    assert answer_of([{}, {"role": "user", "content": [{"text": {"value": "No."}}]}, {"role": "assistant"}]) == ""


def test_sources_that_are_annotations_become_numbered_links() -> None:
    def cited(marker: str, url: str) -> dict[str, Any]:
        return {"type": "url_citation", "text": marker, "url_citation": {"url": url, "title": "Contract"}}

    annotations = [cited("【1†source】", "https://a.example"), cited("【2†source】", "javascript:alert(1)")]
    part = {"type": "text", "text": {"value": "In May【1†source】.【2†source】", "annotations": annotations}}
    assert answer_of([{"role": "assistant", "content": [part]}]) == (
        "In May [1].【2†source】\n\n1. [Contract](https://a.example)"
    )


async def test_an_agent_is_not_waited_for_longer_than_a_minute(harness: ClassicProgramHarness) -> None:
    harness.stand_in.faults.add(CREATE, 429, retry_after_seconds=3600)
    async with asyncio.timeout(20):
        with pytest.raises(UnavailableError, match="asks to wait 3600 s"):
            await harness.orchestrator().create()
    assert harness.stand_in.left() == []


@pytest.mark.parametrize("call", ["GET /assistants", "POST /threads", "POST /threads/{id}/messages"])
async def test_the_time_limit_holds_at_every_step(harness: ClassicProgramHarness, call: str) -> None:
    await harness.orchestrator().create()
    harness.stand_in.faults.add(call, None)
    async with asyncio.timeout(20):
        with pytest.raises(NoEndError, match=r"no answer within 0\.3 s"):
            await harness.orchestrator().ask("How many?", 0.3)
    assert not harness.stand_in.classic.threads


@pytest.mark.parametrize("call", ["GET /assistants", "GET /threads"])
async def test_a_list_that_is_not_there_is_said_to_be_left(harness: ClassicProgramHarness, call: str) -> None:
    harness.stand_in.faults.add(call, 404)
    (left,) = await harness.orchestrator().delete()
    assert "could not be listed" in left
