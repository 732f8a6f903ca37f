"""The tools that Foundry's agents may call, as the settings have them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.agent.agent import Agent
from app.foundry.tools.agent_answerer import AgentAnswerer
from app.foundry.tools.call_conversation import Forget
from app.foundry.tools.data_answerer import DataAnswerer
from app.foundry.tools.foundry_tool import FoundryTool
from app.foundry.tools.job_answerer import JobAnswerer, JobServices
from app.foundry.tools.job_reference import MAX_CHARACTERS
from app.foundry.tools.question_tool import QuestionTool
from app.foundry.tools.refusing_tool import RefusingTool
from app.foundry.tools.shared_answers import SharedAnswers
from app.foundry.tools.tool_definitions import ToolDefinition, tool_definitions
from app.settings.foundry_settings import FoundryToolSettings
from app.settings.genie_settings import GenieSettings

if TYPE_CHECKING:
    from app.data.stored_results import StoredResults
    from app.genie.provider import GenieTools

_OTHER_NAMES_OF_JOB = ("run", "run_id", "job", "job_id", "job_name", "name", "url")
_MAX_GENIE_QUESTION_CHARACTERS = 2_000
_NO_SPACES = (
    "No data can be asked here: an administrator has to put the ids of Genie spaces into GENIE_SPACES, and grant the "
    "agent's identity CAN RUN on them."
)
_NO_JOBS = (
    "No job can be looked up here: the model is a Databricks App, so the agent knows no workspace with jobs. An "
    "administrator has to put the workspace into DATABRICKS_HOST, and JOB_WATCH_MODE=observe."
)
_REQUIRES_PERSON = (
    "Only people can ask this agent (DATABRICKS_IDENTITY=person), and no person is behind this call. They can ask it "
    "in Microsoft Teams or Microsoft 365 Copilot; to let programs ask too, an administrator has to put "
    "DATABRICKS_IDENTITY=app."
)


@dataclass(frozen=True, slots=True)
class FoundryToolServices:
    """What the tools need. `agent` has tools that only read. `genie`, `results` and `jobs` are called with the first
    question about data, or about a job; there are no `jobs` where no workspace is known. Where `requires_person`, every
    call is refused.
    """

    settings: FoundryToolSettings
    agent: Agent
    genie_settings: GenieSettings
    genie: Callable[[], GenieTools]
    results: Callable[[], StoredResults]
    jobs: Callable[[], JobServices] | None
    forget: Forget
    requires_person: bool = False


def foundry_tools(services: FoundryToolServices) -> tuple[FoundryTool, ...]:
    """Those of FOUNDRY_TOOLS."""
    definitions = tool_definitions(services.settings, services.genie_settings)
    if services.requires_person:
        return tuple(RefusingTool(each, _REQUIRES_PERSON) for each in definitions.values())
    shared = SharedAnswers(services.settings.cache_seconds)
    return tuple(_MAKERS[name](definition, services, shared) for name, definition in definitions.items())


def _ask(definition: ToolDefinition, services: FoundryToolServices, shared: SharedAnswers) -> FoundryTool:
    return QuestionTool(definition, AgentAnswerer(services.agent, services.forget), shared)


def _ask_data(definition: ToolDefinition, services: FoundryToolServices, shared: SharedAnswers) -> FoundryTool:
    if not services.genie_settings.spaces:
        return RefusingTool(definition, _NO_SPACES)
    answerer = DataAnswerer(services.genie, services.results, services.forget)
    return QuestionTool(definition, answerer, shared, max_characters=_MAX_GENIE_QUESTION_CHARACTERS, about="space")


def _diagnose_job(definition: ToolDefinition, services: FoundryToolServices, shared: SharedAnswers) -> FoundryTool:
    if services.jobs is None:
        return RefusingTool(definition, _NO_JOBS)
    answerer = JobAnswerer(services.jobs)
    return QuestionTool(definition, answerer, shared, max_characters=MAX_CHARACTERS, also=_OTHER_NAMES_OF_JOB)


_MAKERS = {"ask": _ask, "ask_data": _ask_data, "diagnose_job": _diagnose_job}
