"""Whether a project can have the agents, before any is made."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from app.foundry.agents.agent_settings import AgentProgramSettings
from app.foundry.agents.foundry_errors import STANDARD_SETUP, NotFoundError, RefusedError
from app.foundry.agents.orchestrator import Report
from app.foundry.agents.project_client import FoundryProject

# "Tool support by region and model", as of March 2026:
# https://learn.microsoft.com/azure/foundry/agents/concepts/tool-best-practice
_QUEUE_MODELS = frozenset({"gpt-5.1", "gpt-5.2"})
# For functions, which the orchestrator delegates with; all of them are listed for MCP too.
_FUNCTION_MODELS = frozenset(
    {
        "deepseek-v3-0324", "deepseek-v3.1", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o", "gpt-4o-mini",
        "gpt-5", "gpt-5.1", "gpt-5.2", "gpt-5.2-chat", "gpt-oss-120b", "grok-3", "grok-4-20-non-reasoning",
        "grok-4-20-reasoning", "grok-4-fast-reasoning", "llama-3.3-70b-instruct", "mai-ds-r1", "model-router",
        "o1", "o3", "o4-mini",
    }
)  # fmt: skip
# What the standard set-up keeps files, conversations and vectors in: kinds of the project's connections, in lower case.
_STANDARD_SETUP = {
    "a storage account": {"azurestorageaccount", "azureblob"},
    "Cosmos DB": {"cosmosdb"},
    "Azure AI Search": {"cognitivesearch"},
}

_LOOKUP_SECONDS = 5.0


async def check_project(project: FoundryProject, settings: AgentProgramSettings, report: Report) -> None:
    """Raises `RefusedError` for what cannot work, and reports what may not. Makes nothing."""
    agents = settings.agents
    try:
        deployment = await project.deployment(agents.model_deployment)
    except NotFoundError:
        sentence = f"The project has no deployment {agents.model_deployment}: check MODEL_DEPLOYMENT_NAME."
        raise RefusedError(sentence) from None
    report(f"deployment {deployment.name}: {deployment.model} {deployment.model_version}".rstrip())
    if warning := model_warning(deployment.model, over_mcp=bool(agents.mcp_url)):
        report(f"warning: {warning}")
    if not agents.mcp_url:
        check_setup(await project.connections(), report)
        if warning := await account_warning(agents.queue_endpoint):
            report(f"warning: {warning}")
    elif agents.mcp_connection:
        _check_connection(await project.connections(), agents.mcp_connection)
    found = await project.agents()
    report(f"agents: {len(found)} in the project")


def model_warning(model: str, *, over_mcp: bool) -> str | None:
    """Where Microsoft does not list the model for the tool in use."""
    if not model:
        return None
    kind, listed = ("function", _FUNCTION_MODELS) if over_mcp else ("Azure Functions", _QUEUE_MODELS)
    if model.lower() in listed:
        return None
    only = ", ".join(sorted(listed))
    return f"Microsoft does not list {model} for {kind} tools, only {only}: a question may be refused."


async def account_warning(queue_endpoint: str) -> str | None:
    """Where its name is not known here; in a private network it may be known to the service all the same."""
    host = urlsplit(queue_endpoint).hostname or ""
    try:
        async with asyncio.timeout(_LOOKUP_SECONDS):
            await asyncio.get_running_loop().getaddrinfo(host, 443)
    except (OSError, TimeoutError, UnicodeError):
        return (
            f"no storage account is known here as {host}: check STORAGE_SERVICE_ENDPOINT, else no question is answered."
        )
    return None


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
