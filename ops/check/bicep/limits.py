"""What a parameter's type and decorators say of a value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tree_sitter import Node

from ops.check.bicep.source import BicepFile, Declaration, inner, parts, said, type_of
from ops.check.bicep.values import UNKNOWN, Placed, Scope
from ops.check.problem import Problem

_TYPES = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}


def check_defaults(files: Mapping[str, BicepFile]) -> list[Problem]:
    return [
        file.problem(f"the default of {param.name} cannot be: {wrong}", param.value)
        for file in files.values()
        for param in file.of("param").values()
        for wrong in _default(file, param)
    ]


def _default(file: BicepFile, param: Declaration) -> Iterator[str]:
    if param.value is None:
        return
    if param.value.type == "array":
        value: Any = parts(param.value)
    else:
        value = Placed(Scope(file), param.value).value
    if value is not UNKNOWN and (wrong := refused(param, value)):
        yield wrong


def refused(param: Declaration, value: Any) -> str:  # noqa: ANN401
    """What is wrong with it, or nothing."""
    kind = _TYPES.get(type_of(param))
    if kind is not None and type(value) is not kind:
        return f"it must be {type_of(param)}"
    if isinstance(value, list):
        return _outside(param, len(value), "minLength", "maxLength", " items")
    allowed = _allowed(param)
    if allowed and value not in allowed:
        return f"one of {', '.join(map(str, allowed))} is allowed"
    if isinstance(value, str):
        return _outside(param, len(value), "minLength", "maxLength", " characters")
    return _outside(param, value, "minValue", "maxValue") if type(value) is int else ""


def _allowed(param: Declaration) -> list[str | int]:
    """Nothing if any of it is more than a text or a number."""
    given = param.decorators.get("allowed", [])
    items = parts(given[0]) if given else []
    found = [inner(item) if item.type == "string" else _number(item) for item in items]
    return [item for item in found if item is not None] if None not in found else []


def _outside(param: Declaration, figure: int, least: str, most: str, unit: str = "") -> str:
    low, high = (_bound(param, name) for name in (least, most))
    if low is not None and figure < low:
        return f"at least {low}{unit} are needed"
    if high is not None and figure > high:
        return f"at most {high}{unit} are allowed"
    return ""


def _bound(param: Declaration, name: str) -> int | None:
    given = param.decorators.get(name)
    return _number(given[0]) if given else None


def _number(node: Node) -> int | None:
    return int(said(node)) if re.fullmatch(r"-?\d+", said(node)) else None
