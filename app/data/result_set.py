"""A query's result, typed by its schema.

https://docs.databricks.com/api/workspace/statementexecution/getstatement: values arrive as strings or null.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from app.common.json_values import items, mapping
from app.content.blocks import Cell, ColumnType

MAX_ROWS = 5_000
MAX_COLUMNS = 100
_MAX_NUMBER_CHARACTERS = 100
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,99})?")

_INTEGERS = frozenset({"BIGINT", "BYTE", "INT", "INTEGER", "LONG", "SHORT", "SMALLINT", "TINYINT"})
_FLOATS = frozenset({"DOUBLE", "FLOAT"})
_NUMBERS = _INTEGERS | _FLOATS | {"DECIMAL"}
# Floats below it hold every integer.
_EXACT_FLOAT = 2.0**53
_PLAIN_NAME = re.compile(r"(?:^|_)(?:id|key|no|nr|number|code|zip|year|month|day|week|quarter)$")


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """`type_name` is Databricks' own, in capitals."""

    name: str
    type_name: str

    @property
    def type(self) -> ColumnType:
        match self.type_name:
            case name if name in _NUMBERS:
                return ColumnType.NUMBER
            case "BOOLEAN":
                return ColumnType.BOOLEAN
            case "DATE":
                return ColumnType.DATE
            case "TIMESTAMP" | "TIMESTAMP_NTZ":
                return ColumnType.TIMESTAMP
        return ColumnType.TEXT

    @property
    def is_measure(self) -> bool:
        return self.type is ColumnType.NUMBER and not self.is_plain

    @property
    def is_plain(self) -> bool:
        """Whether it holds years, ids and the like, which are read without separators of thousands and never added."""
        return self.type_name in _INTEGERS and _PLAIN_NAME.search(self.name.lower()) is not None


@dataclass(frozen=True, slots=True)
class ResultSet:
    """The first `rows` of a result that has `total_rows`, or an unknown number of them. `truncated`: the query found
    more rows than its result has.
    """

    columns: tuple[ResultColumn, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total_rows: int | None = None
    truncated: bool = False

    @property
    def is_whole(self) -> bool:
        return not self.truncated and (self.total_rows is None or self.total_rows == len(self.rows))

    def with_more(self, data_array: Sequence[Any]) -> ResultSet:
        """With further rows as they came, at most `MAX_ROWS` in all."""
        rows = (*self.rows, *_rows(data_array[: MAX_ROWS - len(self.rows)], self.columns))
        total = None if self.total_rows is None else max(self.total_rows, len(rows))
        return replace(self, rows=rows, total_rows=total)


def result_set(manifest: Mapping[str, Any], data_array: Sequence[Any]) -> ResultSet:
    """Raises `ValueError` where the manifest names no columns."""
    described = items(mapping(manifest.get("schema")).get("columns"))
    columns = tuple(_column(each) for each in described[:MAX_COLUMNS] if isinstance(each, Mapping))
    if not columns:
        raise ValueError("the result has no columns")
    rows = _rows(data_array[:MAX_ROWS], columns)
    total, truncated = manifest.get("total_row_count"), manifest.get("truncated") is True
    return ResultSet(columns, rows, total if type(total) is int and total >= len(rows) else None, truncated)


def _rows(data_array: Sequence[Any], columns: Sequence[ResultColumn]) -> tuple[tuple[Cell, ...], ...]:
    """Read column by column: row by row it takes half as long again. Where a row is too short, cells are null."""
    rows = [row for row in data_array if isinstance(row, list)]
    read = (_cells([row[at] if at < len(row) else None for row in rows], each) for at, each in enumerate(columns))
    return tuple(zip(*read, strict=True))


def _column(described: Mapping[str, Any]) -> ResultColumn:
    type_name = described.get("type_name") or described.get("type_text") or "STRING"
    return ResultColumn(str(described.get("name") or ""), str(type_name).upper().partition("(")[0])


def _cells(values: Sequence[Any], column: ResultColumn) -> Sequence[Cell]:
    texts = [value if value is None or isinstance(value, str) else _as_json(value) for value in values]
    match column.type:
        case ColumnType.BOOLEAN:
            return [text if text is None else _boolean(text) for text in texts]
        case ColumnType.NUMBER:
            return [text if text is None else _number(text, column) for text in texts]
    # Dates and times stay as they came: read as times of a zone they would shift.
    return texts


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _boolean(text: str) -> Cell:
    return text.lower() == "true" if text.lower() in {"true", "false"} else text


def _number(text: str, column: ResultColumn) -> Cell:
    """Exact: an integer, a float where it is one, and else the digits as text. "3.336E8" is a number too."""
    if len(text) > _MAX_NUMBER_CHARACTERS:
        return text
    if _PLAIN_NUMBER.fullmatch(text):
        # Most are: to read them as `Decimal` would take four times as long.
        if "." not in text:
            return int(text)
        if column.type_name == "DECIMAL":
            return text
    if column.type_name in _FLOATS:
        with suppress(ValueError):
            as_float = float(text)
            if abs(as_float) < _EXACT_FLOAT:
                return int(as_float) if as_float.is_integer() else as_float
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return text
    if not number.is_finite() or abs(number.adjusted()) > _MAX_NUMBER_CHARACTERS:
        return text
    if number == number.to_integral_value() and (column.type_name != "DECIMAL" or number.as_tuple().exponent == 0):
        return int(number)
    if column.type_name == "DECIMAL":
        return f"{number:f}"
    as_float = float(number)
    return as_float if math.isfinite(as_float) else text
