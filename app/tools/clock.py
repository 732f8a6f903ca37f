"""The one built-in tool: what time it is, which no model knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from app.models.model import ToolDefinition
from app.tools.registry import ToolError


class ClockTool:
    definition = ToolDefinition(
        name="current_time",
        description="The current date and time.",
        parameters={
            "type": "object",
            "properties": {
                "time_zone": {"type": "string", "description": "An IANA name such as Europe/Lisbon. UTC if left out."}
            },
            "additionalProperties": False,
        },
    )
    time_limit = 5.0

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now

    async def run(self, arguments: Mapping[str, Any]) -> str:
        name = arguments.get("time_zone", "UTC")
        if name == "UTC":
            return self._now().strftime("%A %Y-%m-%d %H:%M:%S UTC")
        try:
            zone = ZoneInfo(str(name))
        except (KeyError, ValueError, OSError):
            raise ToolError("there is no time zone of that name; use an IANA name such as Europe/Lisbon") from None
        return self._now().astimezone(zone).strftime("%A %Y-%m-%d %H:%M:%S %Z (%z)")
