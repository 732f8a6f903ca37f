"""What an expression is, as far as that is known before a deployment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tree_sitter import Node

from ops.check.bicep.source import (
    BicepFile,
    Declaration,
    Kind,
    arguments,
    entries,
    function_name,
    inner,
    parts,
    read,
    said,
)

MAIN = "infra/azure.bicep"
UNKNOWN: Any = object()


@dataclass(frozen=True)
class Scope:
    """A file as one deployment of it: with what it was given. `given` holds expressions of the file that gave them."""

    file: BicepFile
    given: Mapping[str, tuple[Scope, Node]] = field(default_factory=dict)
    assumed: Mapping[str, str] = field(default_factory=dict)
    modules: dict[str, Scope] = field(default_factory=dict)


@dataclass(frozen=True)
class Placed:
    """An expression, and where its names are looked up."""

    scope: Scope
    node: Node

    @property
    def value(self) -> Any:  # noqa: ANN401
        """The literal that it comes to, or UNKNOWN."""
        return _value(self.scope, self.node)

    @property
    def text(self) -> str:
        """A string with `{}` for what is not known."""
        return _text(self.scope, self.node)

    def at(self, *path: str) -> list[Placed]:
        """Every expression that may stand at `path`, in every branch that may be taken."""
        found = list(_branches(self.scope, self.node))
        for key in path:
            found = [
                branch for place in found for value in members(place).get(key, ()) for branch in value[1].branches()
            ]
        return found

    def branches(self) -> Iterator[Placed]:
        return _branches(self.scope, self.node)


def scopes(root: Path, assumed: Mapping[str, str] | None = None) -> list[Scope]:
    """infra/azure.bicep and every module that it leads to. What cannot be read is another check's to report."""
    found: list[Scope] = []
    try:
        _enter(root, Scope(read(root, MAIN), {}, assumed or {}), found)
    except (OSError, UnicodeDecodeError):
        return found
    return found


def _enter(root: Path, scope: Scope, found: list[Scope], depth: int = 0) -> None:
    found.append(scope)
    for module in scope.file.of("module").values():
        path = module_path(scope.file, module)
        if path is None or not (root / path).is_file() or module.body is None or depth > 8:
            continue
        given = entries(module.body).get("params")
        passed = {name: (scope, value) for name, (_, value) in entries(given[1]).items()} if given else {}
        scope.modules[module.name] = Scope(read(root, path), passed, scope.assumed)
        _enter(root, scope.modules[module.name], found, depth + 1)


def module_path(file: BicepFile, module: Declaration) -> str | None:
    """Below the repository; None for a module in a registry."""
    if ":" in module.source:
        return None
    found: list[str] = []
    for part in (*PurePosixPath(file.name).parent.parts, *PurePosixPath(module.source).parts):
        if part == ".." and found:
            found.pop()
        elif part != ".":
            found.append(part)
    return "/".join(found)


def names(scope: Scope, resource: Declaration) -> Iterator[Placed]:
    """Of a resource; of one that is made in a loop over texts, each of them."""
    loop = resource.value
    if loop is not None and loop.type == "for_statement":
        for looped in Placed(scope, parts(loop)[1]).branches():
            yield from (Placed(looped.scope, item) for item in parts(looped.node) if item.type == "string")
    elif resource.body is not None:
        yield from Placed(scope, resource.body).at("name")


def members(place: Placed) -> dict[str, list[tuple[Node, Placed]]]:
    """Of an object or a `union`: each key, its node, and what it may be."""
    found: dict[str, list[tuple[Node, Placed]]] = {}
    for branch in place.branches():
        if branch.node.type == "object":
            for key, (key_node, value) in entries(branch.node).items():
                found.setdefault(key, []).append((key_node, Placed(branch.scope, value)))
        elif branch.node.type == "call_expression" and function_name(branch.node) == "union":
            for argument in arguments(branch.node):
                for key, values in members(Placed(branch.scope, argument)).items():
                    found.setdefault(key, []).extend(values)
    return found


def _branches(scope: Scope, node: Node) -> Iterator[Placed]:
    if node.type == "parenthesized_expression" and parts(node):
        yield from _branches(scope, parts(node)[0])
    elif node.type == "ternary_expression":
        condition, yes, no = parts(node)
        known = _value(scope, condition)
        if known is not False:
            yield from _branches(scope, yes)
        if known is not True:
            yield from _branches(scope, no)
    elif node.type == "identifier" and (behind := _behind(scope, said(node))) is not None:
        yield from behind.branches()
    else:
        yield Placed(scope, node)


def _behind(scope: Scope, name: str) -> Placed | None:
    """The expression that a variable stands for, or a parameter: the one given, in a module else its default."""
    if name in scope.given:
        return Placed(*scope.given[name])
    kinds: tuple[Kind, ...] = ("var",) if scope.file.name == MAIN else ("var", "param")
    declared = scope.file.of(*kinds).get(name)
    return Placed(scope, declared.value) if declared is not None and declared.value is not None else None


def _value(scope: Scope, node: Node) -> Any:  # noqa: ANN401
    kind = node.type
    if kind == "string":
        text = _text(scope, node)
        return UNKNOWN if "{}" in text else text
    if kind in {"boolean", "null", "number"}:
        return {"true": True, "false": False, "null": None}.get(said(node), _number(said(node)))
    if kind == "parenthesized_expression":
        return _value(scope, parts(node)[0])
    if kind == "identifier":
        name = said(node)
        if name in scope.assumed and name not in scope.given:
            return scope.assumed[name]
        behind = _behind(scope, name)
        return UNKNOWN if behind is None else behind.value
    if kind == "unary_expression" and said(node).startswith("!"):
        operand = _value(scope, parts(node)[0])
        return UNKNOWN if operand is UNKNOWN else not operand
    if kind == "binary_expression":
        return _compared(scope, node)
    if kind == "ternary_expression":
        found = [branch.value for branch in _branches(scope, node)]
        return found[0] if len(found) == 1 else UNKNOWN
    return UNKNOWN


def _number(text: str) -> Any:  # noqa: ANN401
    return int(text) if re.fullmatch(r"-?\d+", text) else UNKNOWN


def _compared(scope: Scope, node: Node) -> Any:  # noqa: ANN401
    left, right = (_value(scope, part) for part in parts(node))
    operator = next((child.type for child in node.children if not child.is_named), "")
    if operator == "&&":
        return False if left is False or right is False else True if left is True and right is True else UNKNOWN
    if operator == "||":
        return True if left is True or right is True else False if left is False and right is False else UNKNOWN
    if left is UNKNOWN or right is UNKNOWN or operator not in {"==", "!="}:
        return UNKNOWN
    return (left == right) == (operator == "==")


def _text(scope: Scope, node: Node) -> str:
    if node.type != "string":
        found = _value(scope, node)
        return found if isinstance(found, str) else "{}"
    if said(node).startswith("'''"):
        return inner(node)
    written = ""
    for part in node.named_children:
        if part.type == "interpolation" and parts(part):
            known = _value(scope, parts(part)[0])
            written += known if isinstance(known, str) else "{}"
        else:
            written += said(part).replace("\\'", "'").replace("\\n", "\n")
    return written
