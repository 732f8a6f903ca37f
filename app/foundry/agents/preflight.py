"""Whether a project can have the agents, before any is made."""

from __future__ import annotations

from app.foundry.agents.agent_settings import AgentProgramSettings
from app.foundry.agents.foundry_errors import STANDARD_SETUP, NotFoundError, RefusedError
from app.foundry.agents.orchestrator import Report
from app.foundry.agents.project_client import FoundryProject

# "Tool support by region and model", as of March 2026:
# https://learn.microsoft.com/azure/foundry/agents/concepts/tool-best-practice
_QUEUE_MODELS = frozenset({"gpt-5.1", "gpt-5.2"})
_MODELS_WITHOUT_MCP = frozenset(
    {
        "Cohere-command-r", "Cohere-command-r-plus", "DeepSeek-R1-0528", "Llama-4-Maverick-17B-128E-Instruct-FP8",
        "Llama-4-Scout-17B-16E-Instruct", "Meta-Llama-3.1-405B-Instruct", "Mistral-large-2407", "codex-mini",
        "computer-use-preview", "gpt-35-turbo", "gpt-4", "gpt-4.5-preview", "gpt-5-chat", "gpt-5-nano", "gpt-5-pro",
        "gpt-5.1-chat", "gpt-5.1-codex-max", "gpt-5.1-codex-mini", "grok-3-mini", "grok-4", "o1-mini", "o1-preview",
        "o3-mini", "o3-pro",
    }
)  # fmt: skip
# What the standard set-up keeps conversations, files and vectors in, as types of the project's connections.
_STANDARD_SETUP_TYPES = {"CosmosDB": "Cosmos DB", "CognitiveSearch": "Azure AI Search"}
_STORAGE_TYPES = frozenset({"AzureStorageAccount", "AzureBlob"})


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
        await _check_setup(project)
        report("set-up: standard")
    found = await project.agents()
    report(f"agents: {len(found)} in the project")


def model_warning(model: str, *, over_mcp: bool) -> str | None:
    """Where Microsoft does not list the model for the tool in use."""
    if not model:
        return None
    if over_mcp:
        unlisted = model.lower() in {each.lower() for each in _MODELS_WITHOUT_MCP}
        return f"Microsoft does not list {model} for MCP tools: they may never be called." if unlisted else None
    if model.lower() in _QUEUE_MODELS:
        return None
    listed = " and ".join(sorted(_QUEUE_MODELS))
    return f"Microsoft does not list {model} for Azure Functions tools, only {listed}: they may never be called."


async def _check_setup(project: FoundryProject) -> None:
    found = await project.connection_types()
    missing = [name for kind, name in _STANDARD_SETUP_TYPES.items() if kind not in found]
    if not found & _STORAGE_TYPES:
        missing.append("a storage account")
    if missing:
        raise RefusedError(f"{STANDARD_SETUP} This project has no connection to {', '.join(missing)}.")
