"""What time it is, which no model knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from pydantic import Field

from app.common.caller import Caller
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolError, ToolOutput


class TimeArguments(ToolArguments):
    time_zone: str = Field("UTC", description="An IANA name such as Europe/Lisbon. UTC if left out.")


class ClockTools:
    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return [
            Tool(
                "current_time",
                "The current date and time.",
                TimeArguments,
                self._current_time,
                Effect.READ_ONLY,
                timeout_seconds=5,
            )
        ]

    async def _current_time(self, arguments: TimeArguments, context: ToolContext) -> ToolOutput:
        if arguments.time_zone == "UTC":
            return ToolOutput(self._now().strftime("%A %Y-%m-%d %H:%M:%S UTC"))
        try:
            zone = ZoneInfo(arguments.time_zone)
        except (KeyError, ValueError, OSError):
            raise ToolError("there is no time zone of that name; use an IANA name such as Europe/Lisbon") from None
        return ToolOutput(self._now().astimezone(zone).strftime("%A %Y-%m-%d %H:%M:%S %Z (%z)"))
