"""A tool may bring a schema of its own: the model is told what endpoints accept of it, the tool gets its arguments."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.models.model import ToolCall
from app.tools.base import Effect, RawArguments, Tool, ToolContext, ToolOutput
from app.tools.registry import ToolRegistry
from tests.fakes.tools import tool_context

TEXT = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
SCHEMA = {"type": "object", "$defs": {"a": {"$ref": "#/$defs/a"}}, "properties": {"model_config": {}, "x-odd": {}}}
TOLD = {"type": "object", "properties": {"model_config": {}, "x-odd": {}}}


@given(st.dictionaries(TEXT | st.sampled_from(["model_config", "values", "__class__", "self"]), VALUES, max_size=5))
def test_arguments_arrive_as_the_model_wrote_them(arguments: dict[str, Any]) -> None:
    arrived: list[Any] = []

    async def run(given_arguments: RawArguments, context: ToolContext) -> ToolOutput:
        arrived.append(dict(given_arguments.values))
        return ToolOutput("")

    tool = Tool("raw", "", RawArguments, run, Effect.READ_ONLY, schema=SCHEMA)
    assert tool.definition.parameters == TOLD
    asyncio.run(ToolRegistry([tool]).run(ToolCall("1", "raw", json.dumps(arguments)), tool_context()))
    assert arrived == [arguments]


def test_the_digest_changes_with_what_the_model_and_the_person_were_told() -> None:
    async def run(arguments: RawArguments, context: ToolContext) -> ToolOutput:
        return ToolOutput("")

    def digest(description: str, schema: dict[str, Any]) -> str:
        return Tool("raw", description, RawArguments, run, Effect.NEEDS_APPROVAL, schema=schema).digest

    assert digest("a", {"b": 1, "c": 2}) == digest("a", {"c": 2, "b": 1})
    assert len({digest("a", {}), digest("b", {}), digest("a", {"$comment": "not told to the model"})}) == 3
