"""A file as a table of DuckDB, whose columns have types that lose nothing."""

# ruff: noqa: S608 - names are quoted, and values bound

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.files.column_types import ColumnType, candidates
from app.files.csv_dialect import HEAD_CHARACTERS, Dialect, dialect_of

if TYPE_CHECKING:
    import duckdb

MAX_ROWS = 1_000_000
CSV = "csv"
TEXT = "text"
_MAX_LINE_BYTES = 16 * 1024 * 1024
_SAMPLE_ROWS = 1_000
# A quotation mark that is not closed takes in all that follows it.
_MAX_LINE_BREAKS = 20
_RAW = "_raw"


def load_table(connection: duckdb.DuckDBPyConnection, table: str, path: Path, kind: str) -> dict[str, Any]:
    """Loads a file in UTF-8. Returns its columns with their types, how many rows it has, and what was left out.

    Raises `duckdb.Error`.
    """
    told = _load_lines(connection, table, path) if kind == TEXT else _load_csv(connection, table, path)
    columns = [[str(name), str(type_name)] for name, type_name, *_ in connection.table(quoted(table)).description]
    return {**told, "columns": columns, "rows": _one(connection, f"SELECT count(*) FROM {quoted(table)}")[0]}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _load_lines(connection: duckdb.DuckDBPyConnection, table: str, path: Path) -> dict[str, Any]:
    connection.execute(
        f"CREATE TABLE {quoted(table)} AS SELECT generate_subscripts(lines, 1) AS line, unnest(lines) AS text "
        "FROM (SELECT string_split(rtrim(content, chr(10)), chr(10)) AS lines FROM read_text(?))",
        [str(path)],
    )
    (rows,) = _one(connection, f"SELECT count(*) FROM {quoted(table)}")
    connection.execute(f"DELETE FROM {quoted(table)} WHERE line > {MAX_ROWS}")
    return {
        "left_out_above": 0,
        "lines_left_out": 0,
        "columns_left_out": 0,
        "has_more_rows": rows > MAX_ROWS,
        "has_open_quote": False,
    }


def _load_csv(connection: duckdb.DuckDBPyConnection, table: str, path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8", newline="") as file:
        dialect = dialect_of(file.read(HEAD_CHARACTERS))
    lines_left_out = _read_as_text(connection, path, dialect)
    (rows,) = _one(connection, f"SELECT count(*) FROM {_RAW}")
    last = _one(connection, f"SELECT * FROM {_RAW} ORDER BY rowid DESC LIMIT 1")
    types = _types(connection, dialect)
    typed = [_typed(connection, name, kind) for name, kind in zip(dialect.names, types, strict=True)]
    connection.execute(f"CREATE TABLE {quoted(table)} AS SELECT {', '.join(typed)} FROM {_RAW} LIMIT {MAX_ROWS}")
    connection.execute(f"DROP TABLE {_RAW}")
    return {
        "left_out_above": dialect.left_out_above,
        "lines_left_out": lines_left_out,
        "columns_left_out": dialect.width - len(dialect.names),
        "has_more_rows": rows > MAX_ROWS,
        "has_open_quote": any(text and text.count("\n") >= _MAX_LINE_BREAKS for text in last),
    }


def _read_as_text(connection: duckdb.DuckDBPyConnection, path: Path, dialect: Dialect) -> int:
    """Fills the table `_RAW`, and returns how many lines could not be read."""
    surplus = [f"{number} left out" for number in range(dialect.width - len(dialect.names))]
    columns = dict.fromkeys([*dialect.names, *surplus], "VARCHAR")
    connection.execute(
        f"CREATE TABLE {_RAW} AS SELECT * FROM read_csv(?, auto_detect = false, columns = ?, delim = ?, skip = ?, "
        "quote = '\"', escape = '\"', header = false, null_padding = true, strict_mode = false, store_rejects = true, "
        f"parallel = false, max_line_size = {_MAX_LINE_BYTES}) LIMIT {MAX_ROWS + 1}",
        [str(path), columns, dialect.separator, dialect.skip_lines],
    )
    return int(_one(connection, "SELECT count(DISTINCT line) FROM reject_errors")[0])


def _types(connection: duckdb.DuckDBPyConnection, dialect: Dialect) -> list[ColumnType | None]:
    """Guessed from a sample, then checked against every row; None is text."""
    sample = connection.execute(f"SELECT * FROM {_RAW} LIMIT {_SAMPLE_ROWS}").fetchall()
    columns = range(len(dialect.names))
    values = ([text for row in sample if (text := (row[number] or "").strip())] for number in columns)
    guesses = [list(candidates(each, dialect.separator)) for each in values]
    while unchecked := [number for number in columns if guesses[number]]:
        checks = [f"bool_and({guesses[number][0].fits(_value(dialect.names[number]))})" for number in unchecked]
        fits = _one(connection, f"SELECT {', '.join(checks)} FROM {_RAW}")
        failed = [number for number, fit in zip(unchecked, fits, strict=True) if not fit]
        if not failed:
            break
        for number in failed:
            guesses[number].pop(0)
    return [each[0] if each else None for each in guesses]


def _typed(connection: duckdb.DuckDBPyConnection, name: str, kind: ColumnType | None) -> str:
    if kind is None:
        return quoted(name)
    decimal = ""
    if "{decimal}" in kind.convert:
        fraction = f"split_part({_value(name)}, '{kind.point}', 2)"
        decimal = f"DECIMAL(38, {_one(connection, f'SELECT max(length({fraction})) FROM {_RAW}')[0]})"
    return f"{kind.convert.format(x=_value(name), decimal=decimal)} AS {quoted(name)}"


def _value(name: str) -> str:
    return f"nullif(trim({quoted(name)}), '')"


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> Sequence[Any]:
    return connection.execute(sql).fetchone() or ()
