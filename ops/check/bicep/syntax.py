"""What the grammar says, and what this grammar lets through though the compiler does not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tree_sitter import Node

from ops.check.bicep.source import BicepFile, line, said, walk
from ops.check.problem import Problem


def check_syntax(file: BicepFile) -> list[Problem]:
    if file.root.has_error:
        wrong = next(_errors(file.root), file.root)
        text = " ".join(said(wrong).split())[:60]
        return [file.problem(f"this cannot be read as Bicep: {text}" if text else "something is missing here", wrong)]
    return [
        file.problem(f"{' '.join(said(second).split())[:60]} needs a line of its own, or a comma before it", second)
        for node in walk(file.root)
        for second in _crowded(node)
    ]


def _errors(node: Node) -> Iterator[Node]:
    """The innermost first: the tree wraps half a file around a slip."""
    for child in node.children:
        if child.has_error:
            yield from _errors(child)
    if node.is_error or node.is_missing:
        yield node


def _crowded(node: Node) -> Iterator[Node]:
    """Neighbours on one line without a comma, which the grammar of tree-sitter takes and the compiler does not."""
    if node.type not in {"object", "array", "infrastructure"}:
        return
    items = [child for child in node.children if child.type not in {"{", "}", "[", "]", "comment", "\n"}]
    for first, second in pairwise(items):
        if "," not in (first.type, second.type) and first.end_point[0] + 1 == line(second):
            yield second
