"""Every resource type, property and object that must be: Azure's own names, and what it cannot do without."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from ops.check.bicep.source import Declaration, parts
from ops.check.bicep.values import Placed, Scope, members
from ops.check.problem import Problem

# From the models of the azure-mgmt wheels: what may be written, as deep as infra/ goes. "" are those not looked into.
_NAMES = Path(__file__).with_name("resource_types.json")
# Bicep's own, on any resource.
_BICEPS = {"name", "parent", "scope", "dependsOn"}

# Of each object that there is, in an array too.
_NEEDED = Path(__file__).with_name("needed_properties.json")


def check_types(scopes: Iterable[Scope]) -> list[Problem]:
    return [
        problem
        for scope in scopes
        for resource in scope.file.of("resource").values()
        if not resource.is_existing
        for problem in _of_resource(scope, resource)
    ]


def _of_resource(scope: Scope, resource: Declaration) -> Iterator[Problem]:
    known = _names()
    if resource.resource_type not in known:
        sentence = f"{resource.name} is of a type that this check does not know: {resource.resource_type}"
        yield scope.file.problem(sentence + _close(resource.resource_type, known), resource.node)
        return
    if resource.body is None:
        return
    place = Placed(scope, resource.body)
    allowed = known[resource.resource_type] | dict.fromkeys(_BICEPS)
    yield from _unknown(place, allowed, resource.name)
    for path in _needed()[resource.resource_type]:
        for lacking in _lacking(place, path.split(".")):
            sentence = f"{resource.name} lacks {path}"
            yield lacking.scope.file.problem(sentence, resource.node if lacking == place else lacking.node)


def _lacking(place: Placed, path: list[str]) -> Iterator[Placed]:
    """`place`, or the item of an array on the way, in which nothing stands at `path`."""
    found = members(place).get(path[0])
    if not found:
        yield place
    elif len(path) > 1:
        for _, value in found:
            in_array = any(branch.node.type in {"array", "for_statement"} for branch in value.branches())
            for item in items(value):
                if item.node.type in {"object", "call_expression"}:
                    yield from (inside if in_array or inside != item else place for inside in _lacking(item, path[1:]))


def _unknown(place: Placed, allowed: Mapping[str, Any], around: str) -> Iterator[Problem]:
    for name, values in members(place).items():
        for key, value in values:
            if name in allowed:
                inside = allowed[name]
                for item in items(value) if inside is not None else ():
                    yield from _unknown(item, inside, name)
            else:
                yield value.scope.file.problem(f"{around} has no property {name}{_close(name, allowed)}", key)


def items(value: Placed) -> Iterator[Placed]:
    """Of an array or a loop what is in it; of anything else itself."""
    for branch in value.branches():
        if branch.node.type == "array":
            for item in parts(branch.node):
                yield from items(Placed(branch.scope, item))
        elif branch.node.type == "for_statement":
            yield from items(Placed(branch.scope, parts(branch.node)[-1]))
        else:
            yield branch


def _close(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


@cache
def _names() -> dict[str, dict[str, Any]]:
    written: dict[str, dict[str, Any]] = json.loads(_NAMES.read_text(encoding="utf-8"))
    return {resource_type: _unfolded(names) for resource_type, names in written.items()}


@cache
def _needed() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(_NEEDED.read_text(encoding="utf-8"))
    return found


def _unfolded(names: Mapping[str, Any]) -> dict[str, Any]:
    inside = {name: _unfolded(more) for name, more in names.items() if name}
    return dict.fromkeys(names.get("", "").split()) | inside
