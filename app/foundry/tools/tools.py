"""The tools that Foundry's agents may call, as the settings have them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from app.foundry.tools.tool_definitions import tool_definitions
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
_REQUIRES_PERSON = (
    "Only people can ask this agent (DATABRICKS_IDENTITY=person), and no person is behind this call. They can ask it "
    "in Microsoft Teams or Microsoft 365 Copilot; to let programs ask too, an administrator has to put "
    "DATABRICKS_IDENTITY=app."
)


@dataclass(frozen=True, slots=True)
class FoundryToolServices:
    """What the tools need. `agent` has tools that only read. `genie`, `results` and `jobs` are called with the first
    question about data, or about a job. Where `requires_person`, every call is refused.
    """

    settings: FoundryToolSettings
    agent: Agent
    genie_settings: GenieSettings
    genie: Callable[[], GenieTools]
    results: Callable[[], StoredResults]
    jobs: Callable[[], JobServices]
    forget: Forget
    requires_person: bool = False


def foundry_tools(services: FoundryToolServices) -> tuple[FoundryTool, ...]:
    """Those of FOUNDRY_TOOLS."""
    tools = tuple(_tools(services))
    return tuple(RefusingTool(tool, _REQUIRES_PERSON) for tool in tools) if services.requires_person else tools


def _tools(services: FoundryToolServices) -> Iterator[FoundryTool]:
    definitions = tool_definitions(services.settings, services.genie_settings)
    shared = SharedAnswers(services.settings.cache_seconds)
    if definition := definitions.get("ask"):
        yield QuestionTool(definition, AgentAnswerer(services.agent, services.forget), shared)
    if definition := definitions.get("ask_data"):
        data = DataAnswerer(services.genie, services.results, services.forget)
        tool = QuestionTool(definition, data, shared, max_characters=_MAX_GENIE_QUESTION_CHARACTERS)
        yield tool if services.genie_settings.spaces else RefusingTool(tool, _NO_SPACES)
    if definition := definitions.get("diagnose_job"):
        jobs = JobAnswerer(services.jobs)
        yield QuestionTool(definition, jobs, shared, max_characters=MAX_CHARACTERS, also=_OTHER_NAMES_OF_JOB)
