"""Which input items the Databricks agent honours: what it cannot, it refuses instead of ignoring it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent_server.protocol.request_parameters import refused

# Those of a tool that the caller runs. Other items are what tools did before, and stand in many histories.
_OF_CALLERS_TOOLS = frozenset(
    {
        "computer_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "function_call",
        "function_call_output",
        "local_shell_call_output",
    }
)


def refuse_unless_honoured(items: Sequence[Mapping[str, Any]]) -> None:
    """Raises `ApiError` with the place of the first item that the agent cannot take."""
    for number, item in enumerate(items):
        place = f"input[{number}]"
        if item.get("type") in _OF_CALLERS_TOOLS:
            raise refused(
                f"{place}.type",
                f"This agent calls no tools of its callers, so it takes no {item['type']}.",
                code="unsupported_value",
            )
        content = item.get("content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            _check_part(part, f"{place}.content[{index}]")


def _check_part(part: Mapping[str, Any], place: str) -> None:
    if part.get("type") == "input_image":
        raise refused(f"{place}.type", "This agent does not see images.", code="unsupported_value")
    if part.get("type") == "input_file" and not part.get("file_id"):
        raise refused(
            place, "This agent reads uploaded files: POST /api/files first, then name its file_id.",
            code="unsupported_value",
        )  # fmt: skip
