"""Whether a project can have the agents, before any is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.foundry.agents.agent_settings import AgentProgramSettings
from app.foundry.agents.foundry_errors import STANDARD_SETUP, NotFoundError, RefusedError
from app.foundry.agents.orchestrator import Report
from app.foundry.agents.project_resources import ProjectResources
from app.foundry.agents.queue_check import check_queues


@dataclass(frozen=True, slots=True)
class ToolModels:
    """The models that Microsoft lists for a kind of tools, in lower case."""

    kind: str
    listed: frozenset[str]


# "Tool support by region and model", as of March 2026:
# https://learn.microsoft.com/azure/foundry/agents/concepts/tool-best-practice
AZURE_FUNCTIONS = ToolModels("Azure Functions tools", frozenset({"gpt-5.1", "gpt-5.2"}))
# The orchestrator delegates with a function; all of them are listed for MCP too.
FUNCTIONS = ToolModels(
    "function tools",
    frozenset(
        {
            "deepseek-v3-0324", "deepseek-v3.1", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o", "gpt-4o-mini",
            "gpt-5", "gpt-5.1", "gpt-5.2", "gpt-5.2-chat", "gpt-oss-120b", "grok-3", "grok-4-20-non-reasoning",
            "grok-4-20-reasoning", "grok-4-fast-reasoning", "llama-3.3-70b-instruct", "mai-ds-r1", "model-router",
            "o1", "o3", "o4-mini",
        }
    ),
)  # fmt: skip
# Of OpenAI's, those that do more than search files and interpret code, as of March 2026:
# https://learn.microsoft.com/azure/foundry-classic/agents/concepts/model-region-support
CLASSIC_AZURE_FUNCTIONS = ToolModels(
    "the tools of classic agents",
    frozenset(
        {"gpt-35-turbo", "gpt-4", "gpt-4-32k", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o", "gpt-4o-mini"}
    ),
)
# What the standard set-up keeps files, conversations and vectors in: kinds of the project's connections, in lower case.
_STANDARD_SETUP = {
    "a storage account": {"azurestorageaccount", "azureblob"},
    "Cosmos DB": {"cosmosdb"},
    "Azure AI Search": {"cognitivesearch"},
}


async def check_project(
    project: ProjectResources, settings: AgentProgramSettings, models: ToolModels, report: Report
) -> None:
    """Raises `RefusedError` for what cannot work, and reports what may not. Makes nothing."""
    agents = settings.agents
    try:
        deployment = await project.deployment(agents.model_deployment)
    except NotFoundError:
        sentence = f"The project has no deployment {agents.model_deployment}: check MODEL_DEPLOYMENT_NAME."
        raise RefusedError(sentence) from None
    report(f"deployment {deployment.name}: {deployment.model} {deployment.model_version}".rstrip())
    if warning := model_warning(deployment.model, models):
        report(f"warning: {warning}")
    if not agents.mcp_url:
        check_setup(await project.connections(), report)
        await check_queues(settings, report)
    elif agents.mcp_connection:
        _check_connection(await project.connections(), agents.mcp_connection)


def model_warning(model: str, models: ToolModels) -> str | None:
    """Where Microsoft does not list the model for the tools in use."""
    if not model or model.lower() in models.listed:
        return None
    only = ", ".join(sorted(models.listed))
    return f"Microsoft does not list {model} for {models.kind}, only {only}: a question may be refused."


def check_setup(connections: Mapping[str, str], report: Report) -> None:
    """Where only a part is there, the service is asked all the same, which knows better."""
    kinds = {kind.lower() for kind in connections.values()}
    missing = [name for name, of_that in _STANDARD_SETUP.items() if not kinds & of_that]
    if len(missing) == len(_STANDARD_SETUP):
        raise RefusedError(f"{STANDARD_SETUP} This project has no connection to any of them.")
    if missing:
        report(f"warning: the project has no connection to {' and '.join(missing)}. {STANDARD_SETUP}")
    else:
        report("set-up: standard")


def _check_connection(connections: Mapping[str, str], wanted: str) -> None:
    """`wanted` is a name, or an id whose last segment is the name."""
    if wanted.rpartition("/")[2] not in connections:
        raise RefusedError(f"The project has no connection {wanted}: make it, or check FOUNDRY_MCP_CONNECTION.")
