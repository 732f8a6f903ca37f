"""The settings of the tools for agents in Azure AI Foundry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator

from app.settings.section import Section, setting

ToolName = Literal["ask", "ask_data", "diagnose_job"]
_ALL: tuple[ToolName, ...] = ("ask", "ask_data", "diagnose_job")


# <name> of the queues of the tools that have no setting for it.
_QUEUE_NAMES = {"ask_data": "ask-data", "diagnose_job": "diagnose-job"}


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    return () if value.lower() == "none" else tuple(filter(None, (each.strip() for each in value.split(","))))


def _own_queue(name: str) -> str:
    if name in _QUEUE_NAMES.values():
        raise ValueError("these are the queues of another tool")
    return name


class FoundryToolSettings(Section):
    title: ClassVar[str] = "Azure AI Foundry: the agent as a tool of Foundry's agents"

    tools: Annotated[tuple[ToolName, ...], BeforeValidator(_listed)] = setting(
        "FOUNDRY_TOOLS",
        default=_ALL,
        left_out="all three",
        description="the tools that Foundry's agents may call, with commas: ask, ask_data, diagnose_job; or none",
    )
    tool_name: Annotated[str, AfterValidator(_own_queue)] = setting(
        "FOUNDRY_TOOL_NAME",
        default="ask",
        # With 36 characters the name of the poison queue would be too long.
        max_length=35,
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
        description=(
            "<name> in azure-function-<name>-input and -output, the queues of ask: lower-case letters, digits and "
            "single hyphens, at most 35"
        ),
    )
    max_concurrent_requests: int = setting(
        "FOUNDRY_MAX_CONCURRENT_REQUESTS",
        default=4,
        ge=1,
        le=100,
        description="how many requests of Foundry's agents one worker answers at a time (1 to 100)",
    )
    cache_seconds: float = setting(
        "FOUNDRY_CACHE_SECONDS",
        default=30,
        ge=0,
        le=3600,
        description="how long an equal question gets the answer of before, in seconds (up to 3600; 0 asks each time)",
    )
    answer_links: bool = setting(
        "FOUNDRY_ANSWER_LINKS",
        default=False,
        description="true: an answer that is too long for a queue is kept whole behind a link of an hour",
    )

    @property
    def queue_names(self) -> Mapping[str, str]:
        """<name> in `azure-function-<name>-input` and `-output` of each of the `tools`."""
        return {tool: _QUEUE_NAMES.get(tool, self.tool_name) for tool in self.tools}
