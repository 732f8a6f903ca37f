"""What Foundry's agents are told of each tool, of which they see nothing else. Needs no connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.foundry.tools.call_arguments import QUERIES, QUERY
from app.settings.foundry_settings import FoundryToolSettings
from app.settings.genie_settings import GenieSettings, GenieSpace

_ASK = (
    "Asks the Databricks agent a question in plain words. It can look at data and documents in Databricks, changes "
    "nothing, and remembers nothing of earlier questions. Answers in Markdown, with its sources as numbered links."
)
_ASK_DATA = (
    "Asks Databricks Genie a question about figures in the company's data. Answers with a table in Markdown, the SQL "
    "behind it, and a link to the data."
)
_DIAGNOSE_JOB = (
    "Tells why a run of a Databricks job failed: the cause, the errors of its tasks, and what can be done. Changes and "
    "retries nothing."
)
_JOB = {
    "type": "string",
    "description": (
        "The job: its exact name, its id or its URL, for its last run that failed; or the id or URL of one run."
    ),
}
_JOBS = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Several jobs or runs instead of query, ten at most.",
}
_MAX_DESCRIPTION_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """As in `FoundryTool`."""

    name: str
    queue_name: str
    description: str
    parameters: Mapping[str, Any]


def tool_definitions(settings: FoundryToolSettings, genie: GenieSettings) -> Mapping[str, ToolDefinition]:
    """Those of FOUNDRY_TOOLS, by name."""
    known = (
        ToolDefinition("ask", settings.tool_name, _ASK, _parameters({"query": QUERY, "queries": QUERIES})),
        ToolDefinition(
            "ask_data",
            "ask-data",
            _ASK_DATA,
            _parameters({"query": QUERY, "queries": QUERIES, **_space(genie.spaces, are_all=genie.uses_all_spaces)}),
        ),
        ToolDefinition("diagnose_job", "diagnose-job", _DIAGNOSE_JOB, _parameters({"query": _JOB, "queries": _JOBS})),
    )
    return {each.name: each for each in known if each.name in settings.tools}


def space_names(spaces: Sequence[GenieSpace]) -> list[str]:
    """Their aliases, or the id where there is none, or where another space has the same one."""
    aliases = [each.alias.casefold() for each in spaces]
    return [each.alias if each.alias and aliases.count(each.alias.casefold()) == 1 else each.id for each in spaces]


def _parameters(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "object", "properties": properties}


def _space(spaces: Sequence[GenieSpace], *, are_all: bool) -> Mapping[str, Any]:
    """Nothing where there is no choice."""
    if not are_all and len(spaces) < 2:
        return {}
    names = space_names(spaces)
    about = (f"{name}: {each.description}." for name, each in zip(names, spaces, strict=True) if each.description)
    description = " ".join(["Which Genie space is asked.", *about])[:_MAX_DESCRIPTION_CHARACTERS]
    choices = {} if are_all else {"enum": names}
    return {"space": {"type": "string", "description": description, **choices}}
