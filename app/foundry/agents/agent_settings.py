"""The settings of the agents in Azure AI Foundry, for the command line program that makes them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from app.common.net import is_loopback, secure_origin
from app.config import HostSettings, SettingsError, load_sections, setting_names
from app.foundry.agents.endpoints import (
    MCP_FORM,
    PROJECT_FORM,
    QUEUE_FORM,
    mcp_url_problem,
    project_endpoint_problem,
    queue_endpoint_problem,
)
from app.settings.foundry_settings import FoundryToolSettings
from app.settings.genie_settings import GenieSettings
from app.settings.host_environment import HostEnvironment
from app.settings.section import Section, setting

_PROJECT, _MODEL, _QUEUES = "PROJECT_ENDPOINT_ENT", "MODEL_DEPLOYMENT_NAME", "STORAGE_SERVICE_ENDPOINT"
MCP_URL = "FOUNDRY_MCP_URL"
# Under which others' samples know the same.
_NAMES_ELSEWHERE = {
    _PROJECT: (
        "PROJECT_ENDPOINT",
        "FOUNDRY_PROJECT_ENDPOINT",
        "AZURE_AI_PROJECT_ENDPOINT",
        "AZURE_AIPROJECT_ENDPOINT",
        "PROJECT_CONNECTION_STRING",
    ),
    _MODEL: ("FOUNDRY_MODEL_NAME", "AZURE_AI_MODEL_DEPLOYMENT_NAME", "AZURE_OPENAI_DEPLOYMENT", "MODEL_NAME"),
    _QUEUES: ("STORAGE_QUEUE_SERVICE_ENDPOINT", "STORAGE_CONNECTION__queueServiceUri", "QUEUE_SERVICE_ENDPOINT"),
}
_LEAST_SIMILARITY = 0.8

_Address = Annotated[str, AfterValidator(lambda text: text.rstrip("/"))]


class FoundryAgentSettings(Section):
    title: ClassVar[str] = "Agents in Azure AI Foundry that use ours"

    project_endpoint: _Address = setting(_PROJECT, description=f"the project's endpoint, {PROJECT_FORM}")
    model_deployment: str = setting(
        _MODEL,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="the name of the model's deployment in the project, such as gpt-5.1",
    )
    queue_endpoint: _Address = setting(
        _QUEUES,
        default="",
        left_out="required, except with FOUNDRY_MCP_URL",
        description=f"the queue service of the Function App's storage account, {QUEUE_FORM}",
    )
    name: str = setting(
        "FOUNDRY_AGENT_NAME",
        default="databricks",
        pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9-]{0,38}[A-Za-z0-9])?$",
        description=(
            "what the agents' names begin with, and what marks them as ours: another one for each environment that "
            "shares the project (letters, digits and hyphens, at most 40)"
        ),
    )
    scale_factor: int = setting(
        "FOUNDRY_SCALE_FACTOR",
        default=1,
        ge=1,
        le=10,
        description="how many specialists stand side by side, each with one question at a time (1 to 10)",
    )
    mcp_url: str = setting(
        MCP_URL,
        default="",
        left_out="the queues are used",
        description=f"{MCP_FORM}, for tools over MCP instead of queues",
    )
    mcp_connection: str = setting(
        "FOUNDRY_MCP_CONNECTION",
        default="",
        left_out="calls without a key",
        description="the project's connection that holds the key of /api/mcp, or its identity",
    )

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        del host
        if not given.keys() & {_QUEUES, MCP_URL}:
            yield f"{_QUEUES}: missing; put {cls.setting_names()[_QUEUES]}, or set {MCP_URL}"
        checks = (
            (_PROJECT, project_endpoint_problem),
            (_QUEUES, queue_endpoint_problem),
            (MCP_URL, mcp_url_problem),
        )
        for name, problem_of in checks:
            if (problem := problem_of(given[name]) if name in given else None) is not None:
                yield f"{name}: {problem}"
        for name, form in ((_QUEUES, QUEUE_FORM), (MCP_URL, MCP_FORM)):
            if not is_loopback_url(given.get(_PROJECT, "")) and is_loopback_url(given.get(name, "")):
                yield f"{name}: is this machine's own, which Foundry in Azure does not reach; put {form}"


class AgentProgramSettings(HostSettings):
    """All that `python -m app.foundry` reads."""

    agents: FoundryAgentSettings
    tools: FoundryToolSettings
    genie: GenieSettings


def load_agent_settings(environment: Mapping[str, str], *, classic: bool = False) -> AgentProgramSettings:
    """Raises `SettingsError` with every problem at once; a name that nearly is the missing one is pointed out.

    `classic` agents use the queues alone: FOUNDRY_MCP_URL is not read.
    """
    if classic:
        environment = {name: value for name, value in environment.items() if name != MCP_URL}
    try:
        return load_sections(AgentProgramSettings, environment)
    except SettingsError as error:
        raise SettingsError([_with_near_miss(each, environment) for each in error.problems]) from None


def misspelt_settings(environment: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each variable that is read by nothing and nearly has the name of one that was left out."""
    known = setting_names(AgentProgramSettings)
    optional = [name for name in known if name.startswith("FOUNDRY_") and not environment.get(name, "").strip()]
    found = ((name, _close(name, environment.keys() - known.keys(), 0.88)) for name in optional)
    return tuple(f"{other} is set and read by nothing: is {name} meant?" for name, other in found if other)


def is_loopback_url(text: str) -> bool:
    try:
        origin = secure_origin(text)
    except ValueError:
        return False
    host = origin.partition("://")[2]
    return is_loopback(host.rpartition("]")[0].removeprefix("[") if "]" in host else host.partition(":")[0])


def _with_near_miss(problem: str, environment: Mapping[str, str]) -> str:
    name, _, rest = problem.partition(": ")
    if not rest.startswith("missing"):
        return problem
    given = {other for other, value in environment.items() if value.strip()} - setting_names(
        AgentProgramSettings
    ).keys()
    elsewhere = next((other for other in _NAMES_ELSEWHERE.get(name, ()) if other in given), None)
    near = elsewhere or _close(name, given, _LEAST_SIMILARITY)
    return f"{problem} ({near} is set: is that the one?)" if near else problem


def _close(name: str, others: Iterable[str], least: float) -> str | None:
    by_upper = {other.upper()[:100]: other for other in sorted(others)}
    found = difflib.get_close_matches(name, by_upper, n=1, cutoff=least)
    return by_upper[found[0]] if found else None
