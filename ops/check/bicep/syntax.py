"""What the grammar says, and what this grammar lets through though the compiler does not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tree_sitter import Node

from ops.check.bicep.source import BicepFile, inner, line, parts, said, walk
from ops.check.problem import Problem


def check_syntax(file: BicepFile) -> list[Problem]:
    if file.root.has_error:
        wrong = next(_errors(file.root), file.root)
        text = " ".join(said(wrong).split())[:60]
        return [file.problem(f"this cannot be read as Bicep: {text}" if text else "something is missing here", wrong)]
    return [problem for node in walk(file.root) for problem in (*_together(file, node), *_twice(file, node))]


def _errors(node: Node) -> Iterator[Node]:
    """The innermost first: the tree wraps half a file around a slip."""
    for child in node.children:
        if child.has_error:
            yield from _errors(child)
    if node.is_error or node.is_missing:
        yield node


def _together(file: BicepFile, node: Node) -> Iterator[Problem]:
    for second in _crowded(node):
        sentence = f"{' '.join(said(second).split())[:60]} needs a line of its own, or a comma before it"
        yield file.problem(sentence, second)


def _twice(file: BicepFile, node: Node) -> Iterator[Problem]:
    """Keys of an object. Of one that is put together in `${}` nobody knows."""
    seen: dict[str, Node] = {}
    for entry in node.named_children if node.type == "object" else ():
        if entry.type != "object_property" or not parts(entry):
            continue
        key = parts(entry)[0]
        if key.type == "string" and any(child.type == "interpolation" for child in key.children):
            continue
        name = inner(key) if key.type == "string" else said(key)
        if name in seen:
            yield file.problem(f"{name} is already in line {line(seen[name])} of this object", key)
        seen.setdefault(name, key)


def _crowded(node: Node) -> Iterator[Node]:
    """Neighbours on one line without a comma, which the grammar of tree-sitter takes and the compiler does not."""
    if node.type not in {"object", "array", "infrastructure"}:
        return
    items = [child for child in node.children if child.type not in {"{", "}", "[", "]", "comment", "\n"}]
    for first, second in pairwise(items):
        if "," not in (first.type, second.type) and first.end_point[0] + 1 == line(second):
            yield second
