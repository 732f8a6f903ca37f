"""One question to classic agents, for programs that are not asynchronous."""

from __future__ import annotations

import os
import secrets

from app.foundry.agents.agent_settings import AgentProgramSettings, load_agent_settings
from app.foundry.agents.classic_client import open_classic_project
from app.foundry.agents.classic_orchestrator import ClassicOrchestrator
from app.foundry.agents.orchestrator import Report
from app.foundry.tools.tool_definitions import tool_definitions
from app.jobs.synchronous import run_synchronously


def connected_azure_function_agent(
    query: str, *, time_limit_seconds: float = 120.0, report: Report = lambda _: None
) -> str:
    """Makes an orchestrator and a specialist that is connected to it, asks them, and removes them, whatever happens.

    The settings are those of the process: PROJECT_ENDPOINT_ENT, MODEL_DEPLOYMENT_NAME, STORAGE_SERVICE_ENDPOINT. Also
    works where an event loop runs. Raises `app.config.SettingsError` and
    `app.foundry.agents.foundry_errors.FoundryError`.
    """
    settings = load_agent_settings(os.environ, classic=True)
    return run_synchronously(lambda: _answer(query, settings, time_limit_seconds, report))


async def _answer(query: str, settings: AgentProgramSettings, time_limit_seconds: float, report: Report) -> str:
    async with open_classic_project(settings.agents.project_endpoint) as project:
        tools = tuple(tool_definitions(settings.tools, settings.genie).values())
        suffix = f"-{secrets.token_hex(4)}"
        orchestrator = ClassicOrchestrator(project, settings, tools, report, suffix=suffix)
        return await orchestrator.answer_once(query, time_limit_seconds)
