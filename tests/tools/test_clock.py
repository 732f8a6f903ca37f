"""The clock knows what no model knows."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from app.common.caller import UNKNOWN_CALLER
from app.models.model import ToolCall
from app.tools.clock import ClockTools
from app.tools.registry import ToolRegistry
from tests.fakes.tools import tool_context


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "Wednesday 2026-07-01 12:00:00 UTC"),
        ({"time_zone": "Europe/Lisbon"}, "13:00:00"),
        ({"time_zone": "../../etc/passwd"}, "use an IANA name"),
    ],
)
async def test_the_clock_knows_time_zones(arguments: dict[str, str], told: str) -> None:
    clock = ClockTools(lambda: datetime(2026, 7, 1, 12, 0, tzinfo=UTC))
    registry = await ToolRegistry.for_turn([clock], UNKNOWN_CALLER)
    result = await registry.run(ToolCall("1", "current_time", json.dumps(arguments)), tool_context())
    assert told in result.text
