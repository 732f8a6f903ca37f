"""The classic agents: an orchestrator with specialists connected to it, which the service runs by itself."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.foundry.agents.agent_settings import AgentProgramSettings
from app.foundry.agents.classic_client import ClassicAgent, ClassicProject
from app.foundry.agents.classic_definitions import (
    ClassicPlan,
    connected_agents,
    orchestrator_plan,
    specialist_plans,
)
from app.foundry.agents.classic_removal import ClassicRemoval
from app.foundry.agents.classic_run import ClassicRun, answer_of, read_run, tool_calls_of
from app.foundry.agents.definitions import includes, is_our_agent, mark, orchestrator_name
from app.foundry.agents.foundry_errors import NoEndError, RefusedError, UnavailableError, question_was_put
from app.foundry.agents.orchestrator import OrchestratedAnswer, Report
from app.foundry.agents.preflight import CLASSIC_AZURE_FUNCTIONS, check_project
from app.foundry.tools.tool_definitions import ToolDefinition

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 5.0
_LONGEST_RETRY_AFTER_SECONDS = 60.0
_CLEANUP_SECONDS = 30.0
_RETIRES = "warning: Foundry ends classic agents on 2027-03-31; without --classic the agents of today are used"


class ClassicOrchestrator:
    """An `Orchestrator`. Agents whose names end with `suffix` live for one question."""

    def __init__(
        self,
        project: ClassicProject,
        settings: AgentProgramSettings,
        tools: Sequence[ToolDefinition],
        report: Report,
        *,
        suffix: str = "",
        poll_seconds: float = _FIRST_PAUSE_SECONDS,
    ) -> None:
        self._project = project
        self._settings = settings
        self._tools = tools
        self._report = report
        self._suffix = suffix
        self._poll_seconds = poll_seconds

        # Names the agents of this run, so that one whose answer was lost is found.
        self._run_id = uuid.uuid4().hex

    async def create(self) -> None:
        try:
            ours = await self._ours()
            specialists = [
                await self._bring_up(plan, ours) for plan in specialist_plans(self._settings, self._tools, self._suffix)
            ]
            connected = connected_agents([each.id for each in specialists])
            orchestrator = await self._bring_up(orchestrator_plan(self._settings, connected, self._suffix), ours)
        except (Exception, asyncio.CancelledError):
            await self._undo()
            raise
        if not self._suffix:
            await self._remove_others({orchestrator.id, *(each.id for each in specialists)})

    async def check(self) -> None:
        self._report(_RETIRES)
        await check_project(self._project.resources, self._settings, CLASSIC_AZURE_FUNCTIONS, self._report)
        self._report(f"agents: {len(await self._project.agents())} classic ones in the project")

    async def ask(self, question: str, time_limit_seconds: float) -> OrchestratedAnswer:
        thread = _Thread(mark(self._settings) | {"question": uuid.uuid4().hex})
        try:
            async with asyncio.timeout(time_limit_seconds):
                return await self._answer(question, thread)
        except TimeoutError:
            raise NoEndError(
                f"There was no answer within {time_limit_seconds:g} s; ask with a longer time limit."
            ) from None
        finally:
            await self._clean_up(thread)

    async def _answer(self, question: str, thread: _Thread) -> OrchestratedAnswer:
        orchestrator = next(
            (each for each in await self._ours() if each.name == orchestrator_name(self._settings) + self._suffix), None
        )
        if orchestrator is None:
            raise RefusedError(
                f"The project has no classic agent {orchestrator_name(self._settings)} of ours: "
                "run create --classic first."
            )
        self._report(f"{orchestrator.name}: {orchestrator.id}")
        thread.is_asked_for = True
        thread.id = await self._project.create_thread(thread.metadata)
        self._report(f"{thread.id}: created")
        await self._project.add_message(thread.id, question)
        run = await self._start(thread.id, orchestrator, thread.metadata)
        with question_was_put():
            await self._wait_for_end(thread.id, orchestrator.name, run)
            text = answer_of(await self._project.messages(thread.id, run.id))
            if not text:
                raise NoEndError("The agent ended without an answer.")
            return OrchestratedAnswer(text, tool_calls_of(await self._project.steps(thread.id, run.id)))

    async def answer_once(self, question: str, time_limit_seconds: float) -> str:
        """With agents of its own, which are removed in the end, also after a failure, and when cancelled."""
        await self.create()
        try:
            return (await self.ask(question, time_limit_seconds)).text
        finally:
            await self._undo()

    async def delete(self) -> tuple[str, ...]:
        removal = ClassicRemoval(self._project, self._settings, self._report)
        await removal.remove_everything()
        return tuple(removal.left)

    async def _ours(self) -> list[ClassicAgent]:
        listed = await self._project.agents()
        return [each for each in listed if is_our_agent(each.name, each.metadata, self._settings)]

    async def _bring_up(self, plan: ClassicPlan, ours: Sequence[ClassicAgent]) -> ClassicAgent:
        found = next((each for each in ours if each.name == plan.name), None)
        body = plan.marked(self._settings, self._run_id)
        if found is None:
            made = await self._create(plan, body)
            self._report(f"{plan.name}: created {made.id}")
            return made
        if found.metadata.get("definition") == plan.fingerprint and includes(found.body, plan.body):
            self._report(f"{plan.name}: {found.id} is as it should be")
            return found
        # The mark of the run that made it stays: what fails now does not take it away.
        body["metadata"]["run"] = found.metadata.get("run", "")
        changed = await self._project.update_agent(found.id, body)
        self._report(f"{plan.name}: changed {changed.id}")
        return changed

    async def _create(self, plan: ClassicPlan, body: Mapping[str, object]) -> ClassicAgent:
        try:
            return await self._project.create_agent(body)
        except UnavailableError as error:
            # It may have been made all the same.
            for each in await self._ours():
                if each.name == plan.name and each.metadata.get("run") == self._run_id:
                    return each
            pause = error.retry_after_seconds or self._poll_seconds
            if not error.was_refused or pause > _LONGEST_RETRY_AFTER_SECONDS:
                raise
            await asyncio.sleep(pause)
            return await self._project.create_agent(body)

    async def _remove_others(self, wanted: set[str]) -> None:
        """Of ours: specialists of a scale factor that was larger, and a second one of a name."""
        removal = ClassicRemoval(self._project, self._settings, self._report)
        await removal.remove_agents([each for each in await self._ours() if each.id not in wanted])
        for line in removal.left:
            self._report(f"left: {line}")

    async def _undo(self) -> None:
        """Removes the agents that this run has made."""
        removal = ClassicRemoval(self._project, self._settings, self._report)
        try:
            async with asyncio.timeout(_CLEANUP_SECONDS):
                await removal.remove_run_of_creation(self._run_id)
        except TimeoutError:
            removal.left.append("agents, for which there was no time")
        except asyncio.CancelledError:
            self._report("left: agents, perhaps, as removing them was interrupted: run delete")
            raise
        for line in removal.left:
            self._report(f"left: {line}")

    async def _clean_up(self, thread: _Thread) -> None:
        """Also after a failure, and when cancelled. What is left is found by `delete`."""
        if not thread.is_asked_for:
            return
        removal = ClassicRemoval(self._project, self._settings, self._report)
        try:
            async with asyncio.timeout(_CLEANUP_SECONDS):
                await removal.remove_question(thread.id, thread.metadata["question"])
        except TimeoutError:
            removal.left.append("what the question made, for which there was no time")
        except asyncio.CancelledError:
            self._report("left: what the question made, perhaps, as removing it was interrupted: run delete")
            raise
        for line in removal.left:
            self._report(f"left: {line}")

    async def _start(self, thread_id: str, agent: ClassicAgent, metadata: Mapping[str, str]) -> ClassicRun:
        trace_id = secrets.token_hex(16)
        self._report(f"trace {trace_id}")
        traceparent = f"00-{trace_id}-{secrets.token_hex(8)}-01"
        run = read_run(await self._project.start_run(thread_id, agent.id, metadata, traceparent))
        self._report(f"{agent.name}: {run.id} {run.status}")
        return run

    async def _wait_for_end(self, thread_id: str, agent_name: str, run: ClassicRun) -> None:
        pause = self._poll_seconds
        while not run.has_ended and run.problem is None:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
            status = run.status
            run = read_run(await self._project.run(thread_id, run.id))
            if run.status != status:
                self._report(f"{agent_name}: {run.id} {run.status}")
        if run.problem is not None:
            raise run.problem


@dataclass(slots=True)
class _Thread:
    """Without an id, one that was asked for may be there all the same."""

    metadata: dict[str, str]
    is_asked_for: bool = False
    id: str = ""
