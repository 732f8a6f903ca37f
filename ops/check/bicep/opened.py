"""Which tables and queues the Python code opens: its clients of storage, and the queue triggers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from ops.check.problem import Problem

TRIGGERS = "function_app.py"
_CODE = ("app/composition/functions_host.py", "app/storage/**/*.py")

Kind = Literal["table", "queue"]
# Each takes the account first, then the name: app/storage/factory.py, azure-data-tables, azure-storage-queue.
_CLIENTS: dict[str, Kind] = {
    "open_table": "table",
    "TableClient": "table",
    "open_queue": "queue",
    "QueueClient": "queue",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """`connection` is a trigger's."""

    kind: Kind
    name: str
    file: str
    line: int
    connection: str = ""

    def problem(self, sentence: str) -> Problem:
        return Problem(self.file, self.line, sentence)


def triggered(root: Path) -> Iterator[Opened]:
    """What `@app.queue_trigger(arg_name, queue_name, connection)` decorates."""
    source = _Source.read(root, TRIGGERS)
    for call in source.calls():
        if isinstance(call.func, ast.Attribute) and call.func.attr == "queue_trigger":
            name = source.text(_argument(call, 1, "queue_name"))
            connection = source.text(_argument(call, 2, "connection"))
            yield Opened("queue", name or "", TRIGGERS, call.lineno, connection or "")


def opened(root: Path) -> Iterator[Opened]:
    """Names that the code leaves to its caller are not known here."""
    for path in sorted(path for pattern in _CODE for path in root.glob(pattern)):
        name = path.relative_to(root).as_posix()
        source = _Source.read(root, name)
        for call in source.calls():
            kind = _opened_by(call)
            if kind is not None and (text := source.text(_argument(call, 1, f"{kind}_name", "name"))):
                yield Opened(kind, text, name, call.lineno)


def _opened_by(call: ast.Call) -> Kind | None:
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr == "from_connection_string":
        function = function.value
    return _CLIENTS.get(_last_name(function))


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _argument(call: ast.Call, position: int, *names: str) -> ast.expr | None:
    given = next((keyword.value for keyword in call.keywords if keyword.arg in names), None)
    return given or (call.args[position] if position < len(call.args) else None)


@dataclass(frozen=True, slots=True)
class _Source:
    root: Path
    tree: ast.Module

    @classmethod
    def read(cls, root: Path, name: str) -> _Source:
        """What is no Python has nothing in it: another check's to report."""
        try:
            return cls(root, _parsed((root / name).read_text(encoding="utf-8")))
        except (OSError, SyntaxError, ValueError):
            return cls(root, _parsed(""))

    def calls(self) -> Iterator[ast.Call]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    def text(self, node: ast.expr | None) -> str | None:
        """Of a literal, or of a constant: this module's, or one that it imports."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        name = _last_name(node) if node is not None else ""
        return self._assigned(name) or self._imported(name) if name else None

    def _assigned(self, name: str) -> str | None:
        for statement in self.tree.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                    return self.text(statement.value)
        return None

    def _imported(self, name: str) -> str | None:
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                original = next((item.name for item in node.names if (item.asname or item.name) == name), None)
                if original is not None:
                    return _Source.read(self.root, f"{node.module.replace('.', '/')}.py")._assigned(original)
        return None


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)
