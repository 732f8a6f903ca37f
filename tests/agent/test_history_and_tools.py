"""What the model is reminded of, and what becomes of the tools it calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.history import estimate_tokens, within_budget
from app.models.model import ToolCall, ToolDefinition
from app.storage.conversations import StoredMessage
from app.tools.clock import ClockTool
from app.tools.registry import ToolError, ToolRegistry
from tests.fakes.virtual_time import VirtualTimeLoop

MESSAGES = st.lists(
    st.builds(StoredMessage, st.sampled_from(["user", "assistant"]), st.text(max_size=60), st.booleans()), max_size=20
)


@given(MESSAGES, st.integers(0, 200))
def test_the_memory_never_exceeds_its_budget_and_begins_with_a_question(
    history: list[StoredMessage], budget: int
) -> None:
    remembered = within_budget(history, budget)
    assert sum(estimate_tokens(message.content) for message in remembered) <= budget
    assert not remembered or remembered[0].role == "user"


def test_the_newest_exchanges_are_remembered() -> None:
    history = [StoredMessage(role, f"{role} {n} " + "x" * 60) for n in range(9) for role in ("user", "assistant")]
    assert [m.content[:11].strip() for m in within_budget(history, 120)] == [
        "user 7 xxxx",
        "assistant 7",
        "user 8 xxxx",
        "assistant 8",
    ]


def test_an_answer_that_was_stopped_is_marked_as_cut_off() -> None:
    history = [StoredMessage("user", "Q"), StoredMessage("assistant", "Half", complete=False)]
    assert "cut off" in within_budget(history, 100)[1].content


class Echo:
    definition = ToolDefinition("echo", "Says it again", {"type": "object"})
    time_limit = 1.0

    async def run(self, arguments: Mapping[str, Any]) -> str:
        match arguments.get("do"):
            case "sleep":
                await asyncio.sleep(1000)
            case "fail":
                raise ToolError("the warehouse is asleep")
            case "break":
                raise RuntimeError("secret detail")
            case "flood":
                return "x" * 100_000
        return str(arguments)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (ToolCall("1", "echo", '{"do": "sleep"}'), "did not end within 1 seconds"),
        (ToolCall("1", "echo", '{"do": "fail"}'), "the warehouse is asleep"),
        (ToolCall("1", "echo", '{"do": "break"}'), "a reason that is not known"),
        (ToolCall("1", "echo", "{not json"), "not JSON"),
        (ToolCall("1", "echo", "[1]"), "not a JSON object"),
        (ToolCall("1", "nope", "{}"), "no tool of that name; there are: echo"),
    ],
)
def test_the_model_is_told_why_a_tool_failed(call: ToolCall, told: str) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        result = runner.run(ToolRegistry([Echo()]).run(call))
    assert not result.succeeded
    assert told in result.text
    assert "secret detail" not in result.text


async def test_a_tool_that_floods_is_cut_and_the_model_is_told() -> None:
    result = await ToolRegistry([Echo()]).run(ToolCall("1", "echo", '{"do": "flood"}'))
    assert result.succeeded
    assert len(result.text) < 21_000
    assert "80000 characters, was left out" in result.text


async def test_the_clock_knows_time_zones() -> None:
    noon = ClockTool(lambda: datetime(2026, 7, 1, 12, 0, tzinfo=UTC))
    assert await noon.run({}) == "Wednesday 2026-07-01 12:00:00 UTC"
    assert "13:00:00" in await noon.run({"time_zone": "Europe/Lisbon"})
    with pytest.raises(ToolError, match="IANA"):
        await noon.run({"time_zone": "../../etc/passwd"})
