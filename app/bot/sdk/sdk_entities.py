"""Converts the SDK's models to JSON without losing fields of entities.

The SDK's own serialiser drops every field of an `Entity` but its type (stream information, labels and citations would
be lost), and raises on one that is a dict.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from botbuilder.schema import Activity, ConversationAccount, Entity
from msrest.serialization import Model

Json = dict[str, Any]


def entity(properties: Mapping[str, Any]) -> Entity:
    """An entity for the SDK's `Activity` that keeps all of `properties`."""
    made = Entity(type=str(properties.get("type", "")))
    made.additional_properties = {name: value for name, value in properties.items() if name != "type"}
    return made


def serialise(activity: Activity) -> Json:
    """The activity as it is sent."""
    return _fields_of(activity)


def plain(value: Any) -> Any:  # noqa: ANN401 - models of the SDK, and JSON of any shape
    """JSON of a model of the SDK, or of a value that contains models."""
    match value:
        case Model():
            return _fields_of(value)
        case Enum():
            return plain(value.value)
        case Mapping():
            return {str(plain(name)): plain(item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
        case datetime():
            return value.isoformat()
    return value


def _fields_of(model: Model) -> Json:
    """As the SDK does it, but with the unknown fields that came in (`additional_properties`)."""
    content: Json = plain(getattr(model, "additional_properties", None) or {})
    for name, description in model._attribute_map.items():
        value = getattr(model, name, None)
        if value is not None and description["key"]:
            content[description["key"]] = plain(value)
    if isinstance(model, ConversationAccount) and "tenantID" in content:
        # Channels spell it tenantId.
        content["tenantId"] = content.pop("tenantID")
    return content
