"""What a model is told about a tool's arguments, in words that every endpoint accepts."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from app.tools.base import ToolArguments
from app.tools.schema import argument_schema


class Range(BaseModel):
    """Not for the model's eyes."""

    start: int
    title: str = ""


class Arguments(ToolArguments):
    """Not for the model's eyes either."""

    table: str = Field(description="a table's full name")
    limit: int = Field(10, ge=1, le=100)
    order: Literal["up", "down"] = "up"
    note: str | None = None
    since: date | None = Field(None, description="as 2026-11-27")
    until: datetime | None = None
    rows: Range | None = Field(None, description="which rows")
    columns: tuple[Range, ...] = ()


def test_references_and_nulls_are_written_out() -> None:
    # A field's name is no keyword, even where it is called title.
    rows = {
        "type": "object",
        "properties": {"start": {"type": "integer"}, "title": {"type": "string", "default": ""}},
        "required": ["start"],
        "description": "Not for the model's eyes.",
    }
    assert argument_schema(Arguments) == {
        "type": "object",
        "properties": {
            "table": {"type": "string", "description": "a table's full name"},
            "limit": {"type": "integer", "default": 10, "minimum": 1, "maximum": 100},
            "order": {"type": "string", "enum": ["up", "down"], "default": "up"},
            "note": {"type": "string"},
            "since": {"type": "string", "description": "as 2026-11-27"},
            "until": {"type": "string", "format": "date-time"},
            "rows": {**rows, "description": "which rows"},
            "columns": {"type": "array", "items": rows, "default": []},
        },
        "required": ["table"],
        "additionalProperties": False,
    }


class Tree(ToolArguments):
    children: tuple[Tree, ...] = ()


def test_a_type_that_contains_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="contains itself"):
        argument_schema(Tree)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(lambda around, kind: around[kind], st.sampled_from([list, Optional, set]), inner)


TYPES = st.recursive(st.sampled_from([int, str, bool, float, Range, Literal["a"], dict[str, int]]), containers)


def refused_keywords(schema: Any, *, is_schema: bool = True) -> list[str]:
    found = []
    if isinstance(schema, list):
        return [each for item in schema for each in refused_keywords(item)]
    for key, value in schema.items() if isinstance(schema, dict) else ():
        if is_schema:
            found += [key] if key in {"$ref", "$defs", "anyOf", "title"} else []
        found += refused_keywords(value, is_schema=not (is_schema and key == "properties"))
    return found


@given(st.lists(TYPES, max_size=4))
def test_no_type_of_an_argument_brings_what_endpoints_refuse(types: list[Any]) -> None:
    fields: dict[str, Any] = {f"title{number}": (kind, ...) for number, kind in enumerate(types)}
    assert refused_keywords(argument_schema(create_model("Made", __base__=ToolArguments, **fields))) == []
