"""What the classic agents are, as Foundry is told: pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.foundry.agents.agent_settings import AgentProgramSettings
from app.foundry.agents.definitions import (
    SPECIALIST_INSTRUCTIONS,
    mark,
    orchestrator_instructions,
    orchestrator_name,
    queue_tool,
    specialist_names,
)
from app.foundry.tools.tool_definitions import ToolDefinition

CONNECTED_AGENT = "connected_azure_function_agent"
"""The specialist's name as the orchestrator's model reads it: letters and underscores alone."""
_ABOUT_SPECIALIST = "Answers questions about data and jobs in Databricks; give it the whole question in words."


@dataclass(frozen=True, slots=True)
class ClassicPlan:
    """An agent as it should be. `body` is what the service is sent."""

    name: str
    body: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()[:32]

    def marked(self, settings: AgentProgramSettings, run: str) -> dict[str, Any]:
        return {**self.body, "metadata": mark(settings) | {"definition": self.fingerprint, "run": run}}


def specialist_plans(settings: AgentProgramSettings, tools: Sequence[ToolDefinition], suffix: str) -> list[ClassicPlan]:
    """`suffix` is put behind the names of agents that live for one question."""
    return [
        _plan(
            f"{name}{suffix}",
            "Answers from Databricks with tools",
            SPECIALIST_INSTRUCTIONS,
            [queue_tool(each, settings) for each in tools],
            settings,
        )
        for name in specialist_names(settings)
    ]


def orchestrator_plan(
    settings: AgentProgramSettings, connected: Sequence[Mapping[str, Any]], suffix: str
) -> ClassicPlan:
    """`connected` are definitions of `azure.ai.agents.models.ConnectedAgentTool`, as JSON."""
    instructions = orchestrator_instructions(CONNECTED_AGENT)
    return _plan(
        f"{orchestrator_name(settings)}{suffix}",
        "Delegates questions to specialists",
        instructions,
        connected,
        settings,
    )


def connected_agents(specialist_ids: Sequence[str]) -> list[dict[str, Any]]:
    from azure.ai.agents.models import ConnectedAgentTool  # noqa: PLC0415 - an extra of its own

    found: list[dict[str, Any]] = []
    for number, agent_id in enumerate(specialist_ids):
        name = CONNECTED_AGENT + (f"_{chr(ord('a') + number)}" if number else "")
        tool = ConnectedAgentTool(id=agent_id, name=name, description=_ABOUT_SPECIALIST)
        found += [definition.as_dict() for definition in tool.definitions]
    return found


def _plan(
    name: str,
    description: str,
    instructions: str,
    tools: Sequence[Mapping[str, Any]],
    settings: AgentProgramSettings,
) -> ClassicPlan:
    body = {
        "model": settings.agents.model_deployment,
        "name": name,
        "description": description,
        "instructions": instructions,
        "tools": list(tools),
    }
    return ClassicPlan(name, body)
