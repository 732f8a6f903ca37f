"""DuckDB's results in the format of the SQL Statement Execution API: a manifest, and rows of text in chunks."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_TYPES = {
    "BOOLEAN": ("BOOLEAN", "BOOLEAN"),
    "TINYINT": ("BYTE", "TINYINT"),
    "SMALLINT": ("SHORT", "SMALLINT"),
    "INTEGER": ("INT", "INT"),
    "BIGINT": ("LONG", "BIGINT"),
    "HUGEINT": ("LONG", "BIGINT"),
    "FLOAT": ("FLOAT", "FLOAT"),
    "DOUBLE": ("DOUBLE", "DOUBLE"),
    "DATE": ("DATE", "DATE"),
    "TIMESTAMP": ("TIMESTAMP", "TIMESTAMP"),
    "TIMESTAMP WITH TIME ZONE": ("TIMESTAMP", "TIMESTAMP"),
    "VARCHAR": ("STRING", "STRING"),
}
"""DuckDB's sum of integers is a HUGEINT where that of Databricks is a BIGINT."""

_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")


@dataclass(frozen=True, slots=True)
class StatementResult:
    """What a statement returned; `columns` are those of the API, `rows` text or None."""

    columns: tuple[dict[str, Any], ...]
    rows: tuple[tuple[str | None, ...], ...]
    truncated: bool
    rows_per_chunk: int

    @property
    def chunk_count(self) -> int:
        return max(1, -(-len(self.rows) // self.rows_per_chunk))

    def manifest(self) -> dict[str, Any]:
        return {
            "format": "JSON_ARRAY",
            "schema": {"column_count": len(self.columns), "columns": list(self.columns)},
            "total_chunk_count": self.chunk_count,
            "chunks": [self._chunk_info(index) for index in range(self.chunk_count)],
            "total_row_count": len(self.rows),
            "truncated": self.truncated,
        }

    def chunk(self, index: int, statement_id: str) -> dict[str, Any]:
        """`index` is less than `chunk_count`."""
        told = self._chunk_info(index)
        first, end = told["row_offset"], told["row_offset"] + told["row_count"]
        told["data_array"] = [list(row) for row in self.rows[first:end]]
        if index + 1 < self.chunk_count:
            told["next_chunk_index"] = index + 1
            told["next_chunk_internal_link"] = (
                f"/api/2.0/sql/statements/{statement_id}/result/chunks/{index + 1}?row_offset={end}"
            )
        return told

    def _chunk_info(self, index: int) -> dict[str, Any]:
        first = index * self.rows_per_chunk
        return {
            "chunk_index": index,
            "row_offset": first,
            "row_count": min(self.rows_per_chunk, len(self.rows) - first),
        }


def column(name: str, position: int, duckdb_type: str) -> dict[str, Any]:
    if match := _DECIMAL.fullmatch(duckdb_type):
        precision, scale = int(match[1]), int(match[2])
        return {
            "name": name,
            "position": position,
            "type_name": "DECIMAL",
            "type_text": f"DECIMAL({precision},{scale})",
            "type_precision": precision,
            "type_scale": scale,
        }
    type_name, type_text = _TYPES.get(duckdb_type, ("STRING", "STRING"))
    return {"name": name, "position": position, "type_name": type_name, "type_text": type_text}


def row_of_text(row: Sequence[object]) -> tuple[str | None, ...]:
    return tuple(None if value is None else text_of(value) for value in row)


def text_of(value: object) -> str:
    """A value as the API sends it: booleans in lower case, large doubles with an exponent, times in UTC."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return _java_double(value)
        case Decimal():
            return format(value, "f")
        case dt.datetime():
            utc = value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
            return utc.isoformat(timespec="milliseconds") + "Z"
        case list() | dict():
            return json.dumps(value, default=text_of, ensure_ascii=False)
        case _:
            return str(value)


def _java_double(value: float) -> str:
    """As the warehouse writes a double: 333600000 is "3.336E8"."""
    if value == 0 or 1e-3 <= abs(value) < 1e7 or value != value or abs(value) == float("inf"):
        return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(repr(value), repr(value))
    digits = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(digits.exponent, int)
    text = "".join(map(str, digits.digits))
    exponent = len(text) - 1 + digits.exponent
    return f"{'-' if digits.sign else ''}{text[0]}.{text[1:] or '0'}E{exponent}"
