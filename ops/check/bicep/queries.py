"""The workbook and the alerts ask for what the app really records."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ops.check.bicep.source import BicepFile, inner, walk
from ops.check.document import Document, Key, UnreadableDocumentError
from ops.check.problem import Problem

WORKBOOK = "infra/workbook.json"
TELEMETRY = "app/telemetry"

_TABLES = {
    *("AppRequests", "AppDependencies", "AppMetrics", "AppAvailabilityResults", "AppExceptions", "AppTraces"),
    "_LogOperation",  # Log Analytics about itself: https://learn.microsoft.com/azure/azure-monitor/logs/monitor-workspace
}
_TABLE = re.compile(r"(?:\bApp[A-Z]|\b_Log)\w+")
_QUERY = re.compile(r"(?:union )?(?:App|_Log)[A-Z]?\w+(?:, App\w+)*\s*\|")
_RECORDED = re.compile(r"(agent|bot|error|gen_ai)\.[\w.]+")
_LITERAL = re.compile(r"\"((?:[^\"\\]|\\.)*)\"")
_NAMED = re.compile(r"\bName\s+(?:==|startswith)\s+\"([^\"]*)\"")
# What a span is called, or begins with; the first two words of a name are all that a query may rely on.
_SPANS = {"turn", "retention", "activity ", "chat ", "execute_tool ", "send "}
# The host's own rows are called as the function.
_CALLED = re.compile(r"\bName\s+has\s+\"([^\"]*)\"")
# A failure is called as its class.
_FAILED = re.compile(r"(?:ExceptionType|\[\"(?:agent\.failure|error\.type)\"\]\)?) == \"([^\"]*)\"")
_CLASS = re.compile(r"^class (\w+)", re.MULTILINE)
_BRACKETS = {")": "(", "]": "[", "}": "{"}


class Known(NamedTuple):
    recorded: set[str]
    functions: set[str]
    classes: set[str]


def asked_tables(file: BicepFile) -> set[str]:
    """The tables that the queries of `file` ask."""
    texts = [inner(node) for node in walk(file.root) if node.type == "string" and _QUERY.match(inner(node))]
    return {table for text in texts for table in _TABLE.findall(_LITERAL.sub('""', text))}


def check_queries(root: Path, files: Mapping[str, BicepFile]) -> list[Problem]:
    known = Known(_constants(root.glob(f"{TELEMETRY}/*.py")), _functions(root), _classes(root))
    found = []
    for file in files.values():
        for node in walk(file.root):
            if node.type == "string" and _QUERY.match(inner(node)):
                query = re.sub(r"\$\{[^$}]*\}", "0", inner(node)).replace("\\'", "'")
                found += [file.problem(sentence, node) for sentence in _wrong(query, known)]
    try:
        workbook = Document.read(root, WORKBOOK)
    except UnreadableDocumentError as error:
        return [*found, error.problem]
    for path, query in _queries(workbook.value, ()):
        found += [workbook.problem(sentence, *path) for sentence in _wrong(query, known)]
    return found


def _queries(value: Any, path: tuple[Key, ...]) -> Iterator[tuple[tuple[Key, ...], str]]:  # noqa: ANN401
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "query" and isinstance(item, str):
                yield (*path, key), item
            yield from _queries(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _queries(item, (*path, index))


def _wrong(query: str, known: Known) -> Iterator[str]:
    tables = set(_TABLE.findall(_LITERAL.sub('""', query)))
    yield from (f"the query asks {table}, which nothing here writes to" for table in sorted(tables - _TABLES))
    if not tables & _TABLES:
        yield "the query asks no table of Application Insights"
    for name in _CALLED.findall(query):
        if name not in known.functions:
            yield f"the query asks for calls of {name}, and function_app.py has no such function"
    for name in _LITERAL.findall(query):
        if _RECORDED.fullmatch(name) and name not in known.recorded:
            yield f"the query asks for {name}, which {TELEMETRY} does not record"
    for name in _FAILED.findall(query):
        if name not in known.classes:
            yield f"the query asks for the failure {name}, and app/ has no such class"
    for name in _NAMED.findall(query):
        if not (_RECORDED.fullmatch(name) or name in _SPANS or name == "0"):
            yield f"the query asks for rows named '{name}', and there are none"
    if not _is_balanced(_LITERAL.sub('""', query)):
        yield "the query's brackets or quotes do not close"


def _is_balanced(query: str) -> bool:
    opened: list[str] = []
    for character in query:
        if character in "([{":
            opened.append(character)
        elif character in _BRACKETS and (not opened or opened.pop() != _BRACKETS[character]):
            return False
    return not opened and query.count('"') % 2 == 0


def _constants(paths: Iterable[Path]) -> set[str]:
    """Every name of a metric, a span or an attribute that stands in the app's telemetry."""
    return {
        node.value
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _classes(root: Path) -> set[str]:
    paths = (root / "app").rglob("*.py")
    return {name for path in paths for name in _CLASS.findall(path.read_text(encoding="utf-8"))}


def _functions(root: Path) -> set[str]:
    path = root / "function_app.py"
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)}
