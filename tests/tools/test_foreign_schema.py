"""Whatever schema a tool of others has, what the model's endpoint is told is one that it accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.tools.foreign_schema import acceptable_schema

QUERY = {"type": "object", "properties": {"limit": {"type": "integer", "default": 20}, "ids": {"type": "array"}}}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"$ref": "#/$defs/Q", "$defs": {"Q": QUERY}}, {"limit": {"type": "integer", "default": 20}}),
        ({"properties": {"a": {"type": ["string", "null"]}}}, {"a": {"type": "string"}}),
        (
            {"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "integer"}], "description": "how many"}}},
            {"a": {"type": "integer", "description": "how many"}},
        ),
        (
            {"properties": {"a": {"oneOf": [{"type": "integer"}, {"type": "string"}]}}},
            {"a": {"anyOf": [{"type": "integer"}, {"type": "string"}]}},
        ),
        ({"properties": {"a": {"const": "x"}}}, {"a": {"type": "string", "enum": ["x"]}}),
        ({"properties": {"type": "object", "b": True}}, {"b": {}}),
        ({"properties": {"städte": {}, "x" * 65: {}, "a.b-c": {}}}, {"a.b-c": {}}),
        ({"properties": {"a": {"format": "uri", "x-odd": 1, "type": "string"}}}, {"a": {"type": "string"}}),
        ({"allOf": [{"properties": {"a": {"type": "number"}}}]}, {"a": {"type": "number"}}),
        ({"properties": {"$ref": {"type": "string"}}}, {}),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, {"a": {}}),
        ({"properties": {"a": {"$ref": "#/nowhere"}}}, {"a": {}}),
        ({"properties": None, "required": None, "anyOf": [{}, {}]}, {}),
    ],
)
def test_what_only_some_endpoints_accept_is_written_otherwise_or_left_out(
    schema: dict[str, Any], told: dict[str, Any]
) -> None:
    read = acceptable_schema(schema)
    assert read["type"] == "object"
    assert {name: each for name, each in read["properties"].items() if name != "ids"} == told


def test_what_is_required_is_among_the_properties_and_named_once() -> None:
    read = acceptable_schema({"properties": {"a": {}, "ö": {}}, "required": ["a", "a", "ö", "b", 7]})
    assert read["required"] == ["a"]


def test_references_that_multiply_come_to_an_end() -> None:
    definitions = {
        f"d{n}": {"properties": {f"p{k}": {"$ref": f"#/$defs/d{n + 1}"} for k in range(10)}} for n in range(20)
    }
    read = acceptable_schema({"$ref": "#/$defs/d0", "$defs": definitions})
    assert len(json.dumps(read)) < 200_000


KEYWORDS = ["type", "properties", "required", "items", "anyOf", "allOf", "$ref", "$defs", "enum", "default", "minimum"]
WORDS = ["object", "array", "string", "null", "#/$defs/a", "#", "#/properties/properties"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(WORDS),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), each, max_size=5),
    max_leaves=25,
)


def problems(schema: Any) -> list[str]:
    """Of a part of a schema that is told."""
    if not isinstance(schema, dict):
        return [f"no schema: {schema!r}"]
    found = [key for key in schema if key in {"$ref", "$defs", "allOf", "oneOf", "const", "title", "format"}]
    found += [f"type {schema['type']!r}"] if not isinstance(schema.get("type", ""), str) else []
    found += [name for name in schema.get("required", ()) if name not in schema.get("properties", {})]
    parts = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    parts += [schema["items"]] if "items" in schema else []
    return found + [problem for part in parts for problem in problems(part)]


@given(st.dictionaries(st.sampled_from(KEYWORDS), JSON, max_size=6))
def test_any_schema_becomes_one_that_endpoints_accept(schema: dict[str, Any]) -> None:
    read = acceptable_schema(schema)
    assert problems(read) == []
    assert read["type"] == "object"
    json.dumps(read, allow_nan=False)
    assert acceptable_schema(read) == read
