"""The schema of a tool that somebody else wrote, in the part of JSON Schema that every model's endpoint accepts.

An endpoint refuses a whole request for one tool whose schema it does not accept, and with it every other tool. Whoever
runs the tool checks the arguments by the schema as it is; what is left out here only tells the model less. Seen in
https://github.com/github/copilot-cli/issues/1876 and https://github.com/MervinPraison/PraisonAI/issues/3111.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from app.common.json_values import items, mapping, text

_MAX_DEPTH = 12
_MAX_PARTS = 1_000
_MAX_DESCRIPTION_CHARACTERS = 1_000
_MAX_CHOICES = 200
_TYPES = frozenset({"array", "boolean", "integer", "number", "object", "string"})
_OF_ROOT = frozenset({"properties", "required"})
"""Endpoints take no choices there."""
_NUMBERS = frozenset({"minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength"})
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def acceptable_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an object, without references, nulls and keywords that only some endpoints know. It raises nothing,
    whatever `schema` is.
    """
    reader = _Reader(schema)
    read = reader.read(dict(schema), 0)
    for choice in [*items(schema.get("anyOf")), *items(schema.get("oneOf"))][:_MAX_CHOICES]:
        read["properties"] = {**reader.read(choice, 1).get("properties", {}), **read.get("properties", {})}
    return {"type": "object", "properties": {}} | {key: read[key] for key in _OF_ROOT & read.keys()}


class _Reader:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        # References may name each other, so that what is written out has no end.
        self._parts_left = _MAX_PARTS

    def read(self, schema: object, depth: int) -> dict[str, Any]:
        self._parts_left -= 1
        if depth > _MAX_DEPTH or self._parts_left < 0:
            return {}
        told = self._written_out(mapping(schema))
        choices = [
            each for each in items(told.get("anyOf")) or items(told.get("oneOf")) if mapping(each).get("type") != "null"
        ]
        if len(choices) == 1:
            told = {**mapping(choices[0]), **{key: told[key] for key in ("description", "default") if key in told}}
            return self.read(told, depth + 1)
        read = self._plain(told)
        if choices and "type" not in read:
            read["anyOf"] = [self.read(each, depth + 1) for each in choices[:_MAX_CHOICES]]
        if "properties" in told:
            named = [
                (name, each) for name, each in mapping(told["properties"]).items() if isinstance(each, dict | bool)
            ]
            properties = {name: self.read(each, depth + 1) for name, each in named if _NAME.fullmatch(name)}
            read["properties"] = properties
            required = [each for each in items(told.get("required")) if isinstance(each, str) and each in properties]
            if required:
                read["required"] = list(dict.fromkeys(required))
        if read.get("type") == "array":
            read["items"] = self.read(told.get("items"), depth + 1)
        return read

    def _written_out(self, schema: dict[str, Any]) -> dict[str, Any]:
        """With what its `allOf` and its reference say in their place."""
        for each in map(mapping, items(schema.get("allOf"))[:_MAX_CHOICES]):
            properties = {**mapping(each.get("properties")), **mapping(schema.get("properties"))}
            required = [*items(schema.get("required")), *items(each.get("required"))]
            both = {"properties": properties, "required": required}
            schema = {**each, **schema, **{key: value for key, value in both.items() if value}}
        for _ in range(_MAX_DEPTH):
            path = text(schema.get("$ref"))
            if not path:
                break
            found: Any = self._root
            for name in path.removeprefix("#").split("/")[1:_MAX_DEPTH]:
                found = mapping(found).get(name.replace("~1", "/").replace("~0", "~"))
            schema = {**mapping(found), **{key: value for key, value in schema.items() if key != "$ref"}}
        return schema

    def _plain(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords that have no schemas in them."""
        read: dict[str, Any] = {}
        kinds = [each for each in _listed(schema.get("type")) if isinstance(each, str) and each in _TYPES]
        if len(kinds) == 1:
            read["type"] = kinds[0]
        elif "properties" in schema:
            read["type"] = "object"
        if description := text(schema.get("description")):
            read["description"] = description[:_MAX_DESCRIPTION_CHARACTERS]
        given = [schema["const"]] if "const" in schema else items(schema.get("enum"))
        choices = [each for each in given if isinstance(each, str)][:_MAX_CHOICES]
        if choices and read.get("type", "string") == "string":
            read |= {"type": "string", "enum": list(dict.fromkeys(choices))}
        for name in _NUMBERS & schema.keys():
            value = schema[name]
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                read[name] = value
        default = schema.get("default")
        if isinstance(default, str | int | float | bool) and (not isinstance(default, float) or math.isfinite(default)):
            read["default"] = default
        return read


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]
