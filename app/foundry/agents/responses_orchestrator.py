"""The agents of today's API: our own loop over responses, with the specialists as a function of the orchestrator."""

from __future__ import annotations

import asyncio
import json
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.common.concurrency import gather_or_cancel
from app.foundry.agents.agent_response import FunctionCall
from app.foundry.agents.agent_settings import AgentProgramSettings
from app.foundry.agents.creation import AgentCreation
from app.foundry.agents.definitions import (
    DELEGATE,
    AgentPlan,
    agent_plans,
    is_as_planned,
    is_ours,
    mark,
    orchestrator_name,
    specialist_names,
)
from app.foundry.agents.foundry_errors import NoEndError, RefusedError
from app.foundry.agents.orchestrator import OrchestratedAnswer, Report
from app.foundry.agents.preflight import AZURE_FUNCTIONS, FUNCTIONS, check_project
from app.foundry.agents.project_client import AgentVersion, FoundryProject
from app.foundry.agents.removal import Removal
from app.foundry.agents.response_runs import ResponseRuns
from app.foundry.tools.tool_definitions import ToolDefinition

_MAX_ROUNDS = 10
_CLEANUP_SECONDS = 30.0


class ResponsesOrchestrator:
    def __init__(
        self,
        project: FoundryProject,
        settings: AgentProgramSettings,
        tools: Sequence[ToolDefinition],
        report: Report,
        *,
        poll_seconds: float = 0.5,
    ) -> None:
        self._project = project
        self._settings = settings
        self._tools = tools
        self._report = report
        self._poll_seconds = poll_seconds

    async def check(self) -> None:
        models = FUNCTIONS if self._settings.agents.mcp_url else AZURE_FUNCTIONS
        await check_project(self._project.resources, self._settings, models, self._report)
        self._report(f"agents: {len(await self._project.agents())} in the project")

    async def create(self) -> None:
        await AgentCreation(self._project, self._settings, self._report).bring_up(self._plans())

    async def ask(self, question: str, time_limit_seconds: float) -> OrchestratedAnswer:
        metadata = mark(self._settings) | {"question": uuid.uuid4().hex}
        trace_id = secrets.token_hex(16)
        self._report(f"trace {trace_id}")
        traceparent = f"00-{trace_id}-{secrets.token_hex(8)}-01"
        runs = ResponseRuns(self._project, metadata, traceparent, self._report, poll_seconds=self._poll_seconds)
        conversation = _Conversation(metadata)
        try:
            async with asyncio.timeout(time_limit_seconds):
                return await self._answer(question, runs, conversation)
        except TimeoutError:
            raise NoEndError(
                f"There was no answer within {time_limit_seconds:g} s; ask with a longer time limit."
            ) from None
        finally:
            await self._clean_up(runs, conversation)

    async def _answer(self, question: str, runs: ResponseRuns, conversation: _Conversation) -> OrchestratedAnswer:
        orchestrator = await self._agent(orchestrator_name(self._settings))
        specialists = await gather_or_cancel(self._agent(name) for name in specialist_names(self._settings))
        conversation.is_asked_for = True
        conversation.id = await self._project.create_conversation(conversation.metadata)
        self._report(f"{conversation.id}: created")
        return await _Delegation(runs, specialists, self._report).answer(orchestrator, question, conversation.id)

    async def delete(self) -> tuple[str, ...]:
        removal = Removal(self._project, self._settings, self._report)
        await removal.remove_everything()
        return tuple(removal.left)

    async def _agent(self, name: str) -> AgentVersion:
        """Its latest version, which the whole question then uses."""
        found = await self._project.latest_version(name)
        if found is None or not is_ours(found.metadata, self._settings):
            raise RefusedError(f"The project has no agent {name} of ours: run create first.")
        self._report(f"{name}: version {found.version}")
        plan = next(each for each in self._plans() if each.name == name)
        if not is_as_planned(plan, found.definition, found.metadata):
            self._report(f"warning: {name} is not as the settings say now; create would change it")
        return found

    def _plans(self) -> tuple[AgentPlan, ...]:
        return agent_plans(self._settings, self._tools)

    async def _clean_up(self, runs: ResponseRuns, conversation: _Conversation) -> None:
        """Also after a failure, and when cancelled. What is left is found by `delete`."""
        removal = Removal(self._project, self._settings, self._report)
        try:
            async with asyncio.timeout(_CLEANUP_SECONDS):
                await removal.remove_known(runs.running, runs.started, conversation.id)
                if runs.lost or (conversation.is_asked_for and not conversation.id):
                    await removal.remove_question(conversation.metadata["question"])
        except TimeoutError:
            removal.left.append("what the question made, for which there was no time")
        except asyncio.CancelledError:
            self._report("left: what the question made, perhaps, as removing it was interrupted: run delete")
            raise
        for line in removal.left:
            self._report(f"left: {line}")


@dataclass(slots=True)
class _Conversation:
    """Without an id, one that was asked for may be there all the same."""

    metadata: dict[str, str]
    is_asked_for: bool = False
    id: str = ""


class _Delegation:
    """One question. Each specialist has one query at a time, so as many run side by side as there are specialists."""

    def __init__(self, runs: ResponseRuns, specialists: Sequence[AgentVersion], report: Report) -> None:
        self._runs = runs
        self._report = report
        self._free: asyncio.Queue[AgentVersion] = asyncio.Queue()
        for each in specialists:
            self._free.put_nowait(each)
        self._tool_calls: list[str] = []

    async def answer(self, orchestrator: AgentVersion, question: str, conversation_id: str) -> OrchestratedAnswer:
        given: str | list[Mapping[str, Any]] = question
        for _ in range(_MAX_ROUNDS):
            response = await self._runs.run(orchestrator, given, conversation_id)
            self._tool_calls += response.tool_calls
            if not response.function_calls:
                return OrchestratedAnswer(response.text, tuple(self._tool_calls))
            given = list(await gather_or_cancel(self._output(call) for call in response.function_calls))
        raise NoEndError(f"The orchestrator still delegates after {_MAX_ROUNDS} rounds.")

    async def _output(self, call: FunctionCall) -> Mapping[str, Any]:
        output = await self._delegate(call)
        return {"type": "function_call_output", "call_id": call.call_id, "output": output}

    async def _delegate(self, call: FunctionCall) -> str:
        """What the specialist says; that it could not answer, and why, is for the orchestrator to say on."""
        if call.name != DELEGATE:
            return f"There is no function {call.name[:100]}."
        query = _query(call.arguments)
        if not query:
            return "The arguments must be JSON with a text `query`."
        specialist = await self._free.get()
        try:
            response = await self._runs.run(specialist, query)
        except RefusedError as error:
            self._report(f"{specialist.name}: {error}")
            return f"The specialist could not answer. {error}"
        finally:
            self._free.put_nowait(specialist)
        self._tool_calls += response.tool_calls
        if not response.tool_calls:
            self._report(f"{specialist.name}: called no tool")
        return response.text or "The specialist gave no answer."


def _query(arguments: str) -> str:
    try:
        query = json.loads(arguments).get("query")
    except (ValueError, AttributeError):
        return ""
    return query.strip() if isinstance(query, str) else ""
