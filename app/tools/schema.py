"""JSON Schema of a tool's arguments, in the part of it that every model's endpoint accepts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel


@cache
def argument_schema(arguments: type[BaseModel]) -> Mapping[str, Any]:
    """Without `$ref`, without `anyOf` where that only says that a value may be null, and without a `format` that Gemini
    refuses (https://github.com/google-gemini/gemini-cli/issues/3178): what has a form is to be described.

    Raises `ValueError` for a type that contains itself, which cannot be written so.
    """
    schema = arguments.model_json_schema()
    definitions = schema.pop("$defs", {})
    # The docstring, which is written for engineers.
    schema.pop("description", None)
    return _simplified(schema, definitions, ())


def _simplified(schema: dict[str, Any], definitions: Mapping[str, Any], parents: tuple[str, ...]) -> dict[str, Any]:
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        if name in parents:
            raise ValueError(f"the tool argument {name} contains itself")
        parents = (*parents, name)
        schema = {**definitions[name], **{key: value for key, value in schema.items() if key != "$ref"}}
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema = {**choices[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
        return _simplified(schema, definitions, parents)
    simplified: dict[str, Any] = {}
    for key, value in schema.items():
        match key:
            case "title":
                continue
            case "default" if value is None:
                continue
            case "format" if value != "date-time":
                continue
            case "properties":
                simplified[key] = {name: _simplified(each, definitions, parents) for name, each in value.items()}
            case "anyOf" | "oneOf" | "allOf" | "prefixItems":
                simplified[key] = [_simplified(each, definitions, parents) for each in value]
            case "items" | "additionalProperties" if isinstance(value, dict):
                simplified[key] = _simplified(value, definitions, parents)
            case _:
                simplified[key] = value
    return simplified
