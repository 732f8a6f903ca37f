"""A Bicep file as its declarations, each with its node in the syntax tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

from ops.check.problem import Problem

Kind = Literal["param", "var", "resource", "module", "output", "func", "type"]

_KINDS: Mapping[str, Kind] = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
    "user_defined_function": "func",
    "type_declaration": "type",
}
_COMMENTS = {"comment", "diagnostic_comment"}


@dataclass(frozen=True)
class Declaration:
    kind: Kind
    name: str
    node: Node
    decorators: Mapping[str, list[Node]] = field(default_factory=dict)

    @property
    def value(self) -> Node | None:
        """The expression behind `=`, if there is one."""
        equals = next((index for index, child in enumerate(self.node.children) if child.type == "="), None)
        behind = self.node.children[equals + 1 :] if equals is not None else []
        return next((child for child in behind if child.is_named and child.type not in _COMMENTS), None)

    @property
    def body(self) -> Node | None:
        """The object of a resource or module, without its loop and its condition."""
        node = self.value
        while node is not None and node.type in {"for_statement", "if_statement"}:
            node = parts(node)[-1]
        return node

    @property
    def is_conditional(self) -> bool:
        return any(node.type == "if_statement" for node in (self.value, self._inside_loop) if node is not None)

    @property
    def _inside_loop(self) -> Node | None:
        looped = self.value is not None and self.value.type == "for_statement"
        return parts(self.value)[-1] if self.value is not None and looped else None

    @property
    def is_existing(self) -> bool:
        return any(child.type == "existing" for child in self.node.children)

    @property
    def source(self) -> str:
        """A resource's `type@version`, a module's path."""
        return next((inner(child) for child in self.node.children if child.type == "string"), "")

    @property
    def resource_type(self) -> str:
        return self.source.partition("@")[0]


@dataclass(frozen=True)
class BicepFile:
    """`name` is the file's path below the repository."""

    name: str
    root: Node
    declarations: tuple[Declaration, ...]

    def of(self, *kinds: Kind) -> dict[str, Declaration]:
        return {declared.name: declared for declared in self.declarations if declared.kind in kinds}

    def resources(self, resource_type: str) -> list[Declaration]:
        """Those that this file makes; not those that it only looks up."""
        return [
            declared
            for declared in self.of("resource").values()
            if declared.resource_type == resource_type and not declared.is_existing
        ]

    def problem(self, sentence: str, node: Node | None = None) -> Problem:
        return Problem(self.name, line(node) if node is not None else 1, sentence)


def read(root: Path, name: str) -> BicepFile:
    """Raises FileNotFoundError and UnicodeDecodeError."""
    text = (root / name).read_text(encoding="utf-8")
    return _parse(name, text)


@cache
def _parse(name: str, text: str) -> BicepFile:
    tree = Parser(Language(tree_sitter_bicep.language())).parse(text.encode())
    return BicepFile(name, tree.root_node, tuple(_declarations(tree.root_node)))


def _declarations(root: Node) -> Iterator[Declaration]:
    decorators: dict[str, list[Node]] = {}
    for node in root.named_children:
        if node.type == "decorators":
            decorators = dict(_decorators(node))
        elif node.type in _KINDS:
            name = next((child for child in node.children if child.type == "identifier"), None)
            if name is not None:
                yield Declaration(_KINDS[node.type], said(name), node, decorators)
            decorators = {}


def _decorators(node: Node) -> Iterator[tuple[str, list[Node]]]:
    for decorator in node.named_children:
        call = next((child for child in walk(decorator) if child.type == "call_expression"), None)
        if call is not None:
            yield function_name(call), arguments(call)


def type_of(param: Declaration) -> str:
    return next((said(child) for child in param.node.children if child.type == "type"), "")


def walk(node: Node) -> Iterator[Node]:
    """It and everything in it, in the order of the text."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(node.children)


def line(node: Node) -> int:
    return int(node.start_point[0]) + 1


def said(node: Node) -> str:
    """What stands there."""
    return (node.text or b"").decode()


def inner(node: Node) -> str:
    """What is between a string's quotes."""
    text = said(node)
    return text[3:-3] if text.startswith("'''") else text[1:-1]


def parts(node: Node) -> list[Node]:
    return [child for child in node.named_children if child.type not in _COMMENTS]


def arguments(call: Node) -> list[Node]:
    given = call.child_by_field_name("arguments")
    return parts(given) if given is not None else []


def function_name(call: Node) -> str:
    """`empty` of `empty(x)` and of `az.empty(x)`."""
    function = call.child_by_field_name("function")
    return said(function).rpartition(".")[2] if function is not None else ""


def entries(node: Node) -> dict[str, tuple[Node, Node]]:
    """Of an object: for each key that is written out, its node and its value's."""
    found = {}
    for entry in node.named_children:
        both = parts(entry) if entry.type == "object_property" else []
        if len(both) == 2:
            key = inner(both[0]) if both[0].type == "string" else said(both[0])
            found[key] = (both[0], both[1])
    return found
