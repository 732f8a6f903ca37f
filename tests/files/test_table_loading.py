"""CSV files as people have them, as tables: no digit is lost, and no row without a word."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.files import table_loading
from app.files.csv_dialect import MAX_COLUMNS, MAX_NAME_CHARACTERS, dialect_of
from app.files.sandbox_process import CONFIG
from app.files.table_loading import load_table, quoted


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config=CONFIG) as made:
        yield made


def load(connection: duckdb.DuckDBPyConnection, folder: Path, text: str, kind: str = "csv") -> dict[str, Any]:
    file = folder / "file.csv"
    file.write_bytes(text.encode())
    return load_table(connection, "t", file, kind)


def rows(connection: duckdb.DuckDBPyConnection) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in connection.execute("FROM t").fetchall()]


@pytest.mark.parametrize(
    ("text", "columns", "first"),
    [
        ("a,b\n1,x\n", {"a": "BIGINT", "b": "VARCHAR"}, ["1", "x"]),
        ("name;wert;am\nß;3,14;1.2.2024\nü;1.234,5;29.02.2024\n",
         {"name": "VARCHAR", "wert": "DECIMAL(38,2)", "am": "DATE"}, ["ß", "3.14", "2024-02-01"]),
        ("a\tb\n1,5\t2\n", {"a": "VARCHAR", "b": "BIGINT"}, ["1,5", "2"]),
        ("a|b\n1|2\n", {"a": "BIGINT", "b": "BIGINT"}, ["1", "2"]),
        ("sep=;\na;b\n1,5;x,y\n", {"a": "DECIMAL(38,1)", "b": "VARCHAR"}, ["1.5", "x,y"]),
        ('a,b\n"1,234.50","x, ""y"""\n12,z\n', {"a": "DECIMAL(38,2)", "b": "VARCHAR"}, ["1234.50", 'x, "y"']),
        ('a,b\r\n"line\r\nbreak",2\r\n', {"a": "VARCHAR", "b": "BIGINT"}, ["line\r\nbreak", "2"]),
        ("zip,id\n01234,007\n", {"zip": "VARCHAR", "id": "VARCHAR"}, ["01234", "007"]),
        ("n\n12345678901234567890\n", {"n": "DECIMAL(38,0)"}, ["12345678901234567890"]),
        ("n\n0.10\n123456789012345678.123456789012345\n", {"n": "DECIMAL(38,15)"}, ["0.100000000000000"]),
        ("n\n3.336E8\n-1\n", {"n": "DOUBLE"}, ["333600000.0"]),
        ("ref\n210000000003139471430009017\n", {"ref": "VARCHAR"}, ["210000000003139471430009017"]),
        ("d,t,s\n2024-02-29,2024-02-29 23:59:01,01/02/2024\n",
         {"d": "DATE", "t": "TIMESTAMP", "s": "VARCHAR"}, ["2024-02-29", "2024-02-29 23:59:01", "01/02/2024"]),
        ("d\n2024-02-30\n", {"d": "VARCHAR"}, ["2024-02-30"]),
        ("f\n=1+1\n@SUM(A1)\n", {"f": "VARCHAR"}, ["=1+1"]),
        ("region,2023\nPorto,5\n", {"region": "VARCHAR", "2023": "BIGINT"}, ["Porto", "5"]),
        ("1,2\n3,4\n", {"column1": "BIGINT", "column2": "BIGINT"}, ["1", "2"]),
        ("Report of 2024\n\na,b\n1,2\n3,4\n", {"a": "BIGINT", "b": "BIGINT"}, ["1", "2"]),
        ("a,A,\n1,2,3\n", {"a": "BIGINT", "A_2": "BIGINT", "column3": "BIGINT"}, ["1", "2", "3"]),
        ("a,b\n1\n2,3,4\n", {"a": "BIGINT", "b": "BIGINT", "column3": "BIGINT"}, ["1", "None", "None"]),
        ('select,"drop ""table"""\n1,2\n', {"select": "BIGINT", 'drop "table"': "BIGINT"}, ["1", "2"]),
        ("a,b\n , \n,\n", {"a": "VARCHAR", "b": "VARCHAR"}, [" ", " "]),
        ("x\n" + "1\n" * 1500 + "none\n", {"x": "VARCHAR"}, ["1"]),
    ],
)  # fmt: skip
def test_a_file_becomes_a_table_whose_values_are_those_of_the_file(
    text: str, columns: dict[str, str], first: list[str], connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    described = load(connection, tmp_path, text)
    assert dict(described["columns"]) == columns
    assert rows(connection)[0] == first
    assert (described["lines_left_out"], described["columns_left_out"], described["has_more_rows"]) == (0, 0, False)


@pytest.mark.parametrize("text", ["", "\n\n", "a,b\n", ",\n"])
def test_a_file_without_data_is_a_table_without_rows_of_values(
    text: str, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    assert load(connection, tmp_path, text)["columns"]
    assert {cell for row in rows(connection) for cell in row} <= {"None"}


def test_a_hundred_columns_are_read_and_what_is_beyond_the_limit_is_counted(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    header = ",".join(f"c{number}" for number in range(MAX_COLUMNS + 7))
    described = load(connection, tmp_path, f"{header}\n{header.replace('c', '')}\n")
    assert (len(described["columns"]), described["columns_left_out"]) == (MAX_COLUMNS, 7)
    assert rows(connection)[0][99] == "99"


def test_rows_beyond_the_limit_are_left_out_and_this_is_said(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_loading, "MAX_ROWS", 1_000)
    described = load(connection, tmp_path, "n\n" + "1\n" * 1_001)
    assert (described["rows"], described["has_more_rows"]) == (1_000, True)
    connection.execute("DROP TABLE t")
    described = load(connection, tmp_path, "line\n" * 1_001, "text")
    assert (described["rows"], described["has_more_rows"]) == (1_000, True)


def test_a_quotation_mark_that_is_not_closed_is_noticed(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    assert load(connection, tmp_path, 'a,b\n"x,1\n' + "y,2\n" * 30)["has_open_quote"]
    connection.execute("DROP TABLE t")
    assert not load(connection, tmp_path, 'a,b\n"x\nz",1\n' + "y,2\n" * 30)["has_open_quote"]


def test_the_lines_of_a_text_are_numbered(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    assert load(connection, tmp_path, "Dear Ann,\n\n1,2\n", "text")["rows"] == 3
    assert rows(connection) == [["1", "Dear Ann,"], ["2", ""], ["3", "1,2"]]


@given(st.text(alphabet=st.sampled_from("ab,;\t|\"'\n\r =-1é\u2028"), max_size=80))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_has_a_dialect_and_becomes_a_table(tmp_path: Path, text: str) -> None:
    dialect = dialect_of(text)
    assert 1 <= len(dialect.names) <= MAX_COLUMNS
    assert len({name.casefold() for name in dialect.names}) == len(dialect.names)
    assert all(len(name) <= MAX_NAME_CHARACTERS + 4 for name in dialect.names)
    with duckdb.connect(":memory:", config=CONFIG) as connection:
        load(connection, tmp_path, text)


@given(
    st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), min_size=1, max_size=5), st.sampled_from(",;\t|")
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_a_program_writes_as_csv_is_read_as_it_was(tmp_path: Path, cells: list[list[str]], separator: str) -> None:
    clean = [["".join(c for c in cell if c.isprintable()) for cell in row] for row in cells]
    file = io.StringIO()
    csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL).writerows([["first name", "second name"], *clean])
    with duckdb.connect(":memory:", config=CONFIG) as connection:
        described = load(connection, tmp_path, file.getvalue())
        if dict(described["columns"]) == {"first name": "VARCHAR", "second name": "VARCHAR"}:
            found = connection.execute(f"SELECT * FROM {quoted('t')}").fetchall()
            assert [[cell or "" for cell in row] for row in found] == clean
        else:
            assert described["rows"] == len(clean)
