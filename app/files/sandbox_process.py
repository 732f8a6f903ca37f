"""The process in which a file is read and asked: DuckDB, without a file system, the network or the app's environment.

DuckDB's own limits do not hold: `repeat('a', 2000000000)` takes 4 GB and cannot be interrupted. So `app.files.sandbox`
ends this process, and the system limits what it may take. It reads one request as JSON and writes one reply.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import sys
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.files.table_loading import load_table, quoted

if TYPE_CHECKING:
    import duckdb

    _Result = duckdb.DuckDBPyConnection | duckdb.DuckDBPyRelation

MAX_RESULT_ROWS = 5_000
MAX_RESULT_CHARACTERS = 8_000_000
MAX_CELL_CHARACTERS = 20_000
_LOADED = "loaded"
# Types of which DuckDB itself writes the text: Python's values of them take pytz, count a month as 30 days, and have
# keys that JSON does not know.
_WRITTEN_BY_DUCKDB = ("WITH TIME ZONE", "INTERVAL", "MAP(")
# No file's table has a name like this.
_VIEW = "_result"
_MAX_TABLE_BYTES = 64 * 1024 * 1024
_MEMORY_BYTES = 512 * 1024 * 1024
_ADDRESS_SPACE_BYTES = 2 * 1024 * 1024 * 1024

# `enable_external_access` and `lock_configuration` come after the files are loaded.
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": f"{_MEMORY_BYTES}B",
    "temp_directory": "",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    # Else a table's name could be that of a Python variable.
    "python_enable_replacements": False,
}

Json = dict[str, Any]


class RefusedQueryError(Exception):
    """`str()` says why, for the model."""


def main() -> None:
    request = json.load(sys.stdin.buffer)
    _limit_this_process(request["seconds"], _MAX_TABLE_BYTES if "load" in request else 0)
    duckdb = importlib.import_module("duckdb")
    try:
        with duckdb.connect(":memory:", config=CONFIG) as connection:
            reply = load(connection, **request["load"]) if "load" in request else query(connection, **request["query"])
    except RefusedQueryError as error:
        reply = {"error": str(error)}
    except (duckdb.OutOfMemoryException, MemoryError):
        reply = {"error": "it takes more memory than there is"}
    except duckdb.Error as error:
        reply = {"error": str(error)[:1_000]}
    json.dump(reply, sys.stdout)


def load(connection: duckdb.DuckDBPyConnection, path: str, kind: str, to: str) -> Json:
    """Writes the file as a table in Parquet, which is read in a tenth of the time. Returns what it is like.

    Raises `duckdb.Error` and `MemoryError`.
    """
    described = load_table(connection, _LOADED, Path(path), kind)
    connection.table(_LOADED).write_parquet(to, compression="zstd")
    return described


def query(connection: duckdb.DuckDBPyConnection, tables: dict[str, str], sql: str) -> Json:
    """`tables` are files in Parquet by the names of their tables. Returns the columns of the result and rows of text.

    Raises `RefusedQueryError`, `duckdb.Error` and `MemoryError`.
    """
    for table, path in tables.items():
        connection.execute(f"CREATE TABLE {quoted(table)} AS FROM read_parquet(?)", [path])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type.name != "SELECT":
        raise RefusedQueryError("only one query that reads is run, such as SELECT; PIVOT needs IN (values)")
    result: _Result = connection.execute(statements[0])
    columns = _columns(result)
    if any(map(_is_written_by_duckdb, (kind for _, kind in columns))):
        result = _as_text(connection, statements[0].query, [kind for _, kind in columns])
        columns = [[name, kind] for (name, _), (_, kind) in zip(columns, _columns(result), strict=True)]
    rows: list[list[str | None]] = []
    left, truncated = MAX_RESULT_CHARACTERS, False
    while row := result.fetchone():
        cells = [_text(cell) for cell in row]
        left -= sum(len(cell or "") + 6 for cell in cells)
        if len(rows) == MAX_RESULT_ROWS or left < 0:
            truncated = True
            break
        rows.append(cells)
    return {"columns": columns, "rows": rows, "truncated": truncated}


def _columns(result: _Result) -> list[list[str]]:
    return [[str(each[0]), str(each[1])] for each in result.description or ()]


def _is_written_by_duckdb(kind: str) -> bool:
    return any(each in kind for each in _WRITTEN_BY_DUCKDB)


def _as_text(connection: duckdb.DuckDBPyConnection, sql: str, kinds: list[str]) -> duckdb.DuckDBPyRelation:
    names = [f"c{number}" for number in range(len(kinds))]
    cells = [
        f"CAST({name} AS VARCHAR)" if _is_written_by_duckdb(kind) else name
        for name, kind in zip(names, kinds, strict=True)
    ]
    columns = ", ".join(names)
    return connection.from_query(sql).query(_VIEW, f"SELECT {', '.join(cells)} FROM {_VIEW} AS v({columns})")  # noqa: S608


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case bool():
            text = str(value).lower()
        case Decimal():
            text = f"{value:f}"
        case dt.datetime():
            text = value.isoformat(" ")
        case bytes():
            text = value[: MAX_CELL_CHARACTERS // 2].hex()
        case dict() | list() | tuple():
            text = json.dumps(value, ensure_ascii=False, default=str)
        case _:
            text = str(value)
    return text if len(text) <= MAX_CELL_CHARACTERS else f"{text[:MAX_CELL_CHARACTERS]}…"


def _limit_this_process(seconds: float, file_bytes: int) -> None:
    """Where the system can do that: Windows cannot."""
    try:
        resource = importlib.import_module("resource")
    except ImportError:
        return
    limits = {
        "RLIMIT_AS": _ADDRESS_SPACE_BYTES,
        "RLIMIT_CPU": int(seconds) + 5,
        "RLIMIT_FSIZE": file_bytes,
        "RLIMIT_CORE": 0,
    }
    for name, limit in limits.items():
        with suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (limit, limit))


if __name__ == "__main__":
    main()
