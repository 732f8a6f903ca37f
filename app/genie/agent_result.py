"""The result of a query that Genie ran in agent mode: described by its report, or a Markdown table of text.

Types are not told there. They are read from the values, exactly: a column of digits holds numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from app.common.json_values import items, mapping, text
from app.data.result_set import MAX_COLUMNS, MAX_ROWS, ResultSet, result_set
from app.genie.agent_response import AgentQuery

_MARKDOWN_ROWS = 100
"""Genie cuts its Markdown tables there."""
_NULLS = frozenset({"", "null", "NULL", "None", "NaN"})
_RULE = re.compile(r"[ |:\-]+")
_CELL_END = re.compile(r"(?<!\\)\|")
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,37})", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d{0,37})(?:\.\d{1,37})?", re.ASCII)
_DOUBLE = re.compile(r"-?(?:0|[1-9]\d{0,37})(?:\.\d{1,38})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)?", re.ASCII)
_TYPES = {"BIGINT": _INTEGER, "DECIMAL": _DECIMAL, "DOUBLE": _DOUBLE, "DATE": _DATE, "TIMESTAMP": _TIMESTAMP}


def result_of(query: AgentQuery) -> ResultSet | None:
    """None where it has none that can be read."""
    return _described(query) or _of_markdown(query.output)


def _described(query: AgentQuery) -> ResultSet | None:
    columns = [mapping(each) for each in items(query.metadata.get("columns"))[:MAX_COLUMNS]]
    rows = [row for row in items(query.metadata.get("preview_rows"))[:MAX_ROWS] if isinstance(row, list)]
    if not columns or not rows:
        return None
    names = [text(each.get("name")) for each in columns]
    types = [text(each.get("type_name")) or text(each.get("type_text")) or text(each.get("type")) for each in columns]
    total = query.metadata.get("total_row_count")
    return _result(names, rows, types, total if isinstance(total, int) else None)


def _of_markdown(output: str) -> ResultSet | None:
    """The first table in it."""
    lines = output.splitlines()
    for number in range(1, len(lines)):
        rule = lines[number]
        if "|" in lines[number - 1] and "|" in rule and "-" in rule and _RULE.fullmatch(rule):
            rows: list[list[str]] = []
            for line in lines[number + 1 : number + 1 + MAX_ROWS]:
                if "|" not in line:
                    break
                rows.append(_cells(line))
            names = _cells(lines[number - 1])[:MAX_COLUMNS]
            return _result(names, rows, [""] * len(names), None, truncated=len(rows) == _MARKDOWN_ROWS)
    return None


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in _CELL_END.split(inner)]


def _result(
    names: Sequence[str], rows: Sequence[list[Any]], types: Sequence[str], total: int | None, *, truncated: bool = False
) -> ResultSet:
    columns = []
    for number, (name, told) in enumerate(zip(names, types, strict=True)):
        values = [row[number] for row in rows if number < len(row)]
        columns.append({"name": name, "type_name": told or _type_of(values)})
    nullable = [column["type_name"] != "STRING" for column in columns]
    cells = [[_cell(value, maybe) for value, maybe in zip(row, nullable, strict=False)] for row in rows]
    manifest = {"schema": {"columns": columns}, "total_row_count": total, "truncated": truncated}
    return result_set(manifest, cells)


def _cell(value: object, nullable: bool) -> object:
    return None if value == "" or (nullable and isinstance(value, str) and value in _NULLS) else value


def _type_of(values: Sequence[object]) -> str:
    present = [str(value) for value in values if value is not None and str(value) not in _NULLS]
    if not present:
        return "STRING"
    return next((name for name, form in _TYPES.items() if all(map(form.fullmatch, present))), "STRING")
