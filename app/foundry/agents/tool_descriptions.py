"""The tools as Foundry's agents are told of them, until `app.foundry.tools` says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.settings.foundry_settings import FoundryToolSettings


@dataclass(frozen=True, slots=True)
class ToolDescription:
    name: str
    queue_name: str
    description: str
    parameters: Mapping[str, Any]


_DESCRIPTIONS = {
    "ask": "Asks the Databricks agent one question, or several, about data, documents and jobs of the workspace.",
    "ask_data": "Asks Genie one question, or several, about the figures in the workspace's tables.",
    "diagnose_job": "Says why a Databricks job failed. The query is the job's or run's id, URL or name.",
}


def tool_descriptions(settings: FoundryToolSettings) -> tuple[ToolDescription, ...]:
    """Those of FOUNDRY_TOOLS, in order."""
    properties = {
        "query": {"type": "string", "description": "the question"},
        "queries": {"type": "array", "items": {"type": "string"}, "description": "several questions, at most ten"},
        "conversation": {"type": "string", "description": "questions with the same one are answered in order"},
    }
    return tuple(
        ToolDescription(
            name,
            settings.tool_name if name == "ask" else name.replace("_", "-"),
            _DESCRIPTIONS[name],
            {"type": "object", "properties": properties},
        )
        for name in settings.tools
    )
