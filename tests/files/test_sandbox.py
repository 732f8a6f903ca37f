"""Queries on files, in the process of their own: what it reads and how, and what it refuses."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import duckdb
import pytest

from app.files import sandbox
from app.files.sandbox import Sandbox, SandboxError, SandboxTimeoutError
from app.files.sandbox_process import CONFIG, RefusedQueryError, load, query

SALES = "region,revenue,on\nPorto,1.10,2024-01-02\nLyon,-2.25,2024-02-03\n"


def parquet(folder: Path, text: str = SALES) -> bytes:
    """As a process of its own makes it of a file."""
    file, table = folder / "file.csv", folder / "file.parquet"
    file.write_text(text)
    with duckdb.connect(":memory:", config=CONFIG) as connection:
        load(connection, str(file), "csv", str(table))
    return table.read_bytes()


@pytest.fixture
def sales(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return parquet(tmp_path_factory.mktemp("sales"))


async def test_a_query_reads_the_files_by_their_names(sales: bytes) -> None:
    made = Sandbox()
    regions = await made.load("name;country\nPorto;Portugal\n", "csv")
    notes = await made.load("first\nsecond, Porto\n", "text")
    reply = await made.query(
        {"sales": sales, "regions": regions.content, "notes": notes.content},
        "SELECT country, sum(revenue) AS total, any_value(text) FROM sales JOIN regions ON region = name "
        "JOIN notes ON contains(text, region) GROUP BY ALL -- all of it",
    )
    assert reply["rows"] == [["Portugal", "1.10", "second, Porto"]]
    assert [name for name, _ in reply["columns"]][:2] == ["country", "total"]
    assert regions.described["columns"] == [["name", "VARCHAR"], ["country", "VARCHAR"]]


def test_times_with_a_zone_are_shown_as_text_in_the_order_of_the_query(sales: bytes, tmp_path: Path) -> None:
    table = tmp_path / "sales.parquet"
    table.write_bytes(sales)
    sql = (
        "SELECT revenue AS a, TIMESTAMPTZ '2024-01-01 10:00:00+02' AT TIME ZONE 'UTC' AS a, "
        "TIMESTAMPTZ '2024-01-01 10:00:00+02' = t AS same, [t] AS t FROM sales, "
        "(SELECT TIMESTAMPTZ '2024-01-01 08:00:00Z' AS t) ORDER BY revenue DESC; -- newest"
    )
    with duckdb.connect(":memory:", config=CONFIG) as connection:
        reply = query(connection, {"sales": str(table)}, sql)
    assert reply["columns"][1:] == [["a", "TIMESTAMP"], ["same", "BOOLEAN"], ["t", "VARCHAR"]]
    assert [row[:3] for row in reply["rows"]] == [
        ["1.10", "2024-01-01 08:00:00", "true"],
        ["-2.25", "2024-01-01 08:00:00", "true"],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("age(DATE '2024-03-15', DATE '2024-01-15')", "2 months"),
        ("INTERVAL 100000000 MONTH", "8333333 years 4 months"),
        ("(SELECT histogram(x) FROM (VALUES (1.5), (2)) AS v(x))", "{1.5=1, 2.0=1}"),
        ("[MAP {DATE '2024-01-01': 1}]", "[{2024-01-01=1}]"),
    ],
)
def test_what_python_has_no_value_for_is_shown_as_duckdb_writes_it(value: str, text: str) -> None:
    with duckdb.connect(":memory:", config=CONFIG) as connection:
        assert query(connection, {}, f"SELECT {value}, 1")["rows"] == [[text, "1"]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM query('FROM read_text(''{file}'')')",
        "SELECT * FROM duckdb_secrets()",
        "COPY sales TO '{folder}/written.csv'",
        "EXPORT DATABASE '{folder}/written'",
        "ATTACH '{folder}/written.duckdb'",
        "ATTACH ':memory:' AS other",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SELECT 1; SET lock_configuration = false; SELECT * FROM read_text('{file}')",
        "CREATE TABLE copied AS FROM sales",
        "DELETE FROM sales",
        "DROP TABLE sales",
        "PRAGMA enable_profiling",
        "CALL pragma_version()",
        "SELECT * FROM tables",
        "SELECT getenv('PATH')",
        "",
        "what is this?",
    ],
)
def test_a_query_that_would_leave_the_tables_or_change_them_is_refused(sql: str, sales: bytes, tmp_path: Path) -> None:
    secret, table = tmp_path / "secret.txt", tmp_path / "sales.parquet"
    secret.write_text("hidden")
    table.write_bytes(sales)
    with duckdb.connect(":memory:", config=CONFIG) as connection:
        with pytest.raises((RefusedQueryError, duckdb.Error)) as refused:
            query(connection, {"sales": str(table)}, sql.format(file=secret, folder=tmp_path))
        assert "hidden" not in str(refused.value)
        assert connection.execute("SELECT count(*) FROM sales").fetchone() == (2,)
    assert sorted(os.listdir(tmp_path)) == ["sales.parquet", "secret.txt"]


async def test_a_query_that_duckdb_cannot_interrupt_is_ended_at_its_time_limit() -> None:
    started = time.monotonic()
    with pytest.raises(SandboxTimeoutError, match="1 seconds"):
        await Sandbox(query_seconds=1.0).query({}, "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))")
    assert time.monotonic() - started < 9


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot limit a process's memory")
async def test_a_query_that_takes_too_much_memory_fails_alone() -> None:
    with pytest.raises(SandboxError):
        await Sandbox().query({}, "SELECT length(repeat('a', 4000000000))")
    assert (await Sandbox().query({}, "SELECT 1"))["rows"] == [["1"]]


async def test_the_process_knows_nothing_of_the_apps_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-secret")
    assert "DATABRICKS_TOKEN" not in sandbox._environment(os.environ)


async def test_no_process_is_left_when_nobody_waits_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[asyncio.subprocess.Process] = []
    create = asyncio.create_subprocess_exec

    async def remembered(*arguments: str, **options: object) -> asyncio.subprocess.Process:
        made.append(await create(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remembered)
    # The limit of its CPU time would end it much later.
    patient = Sandbox(query_seconds=600)
    task = asyncio.create_task(patient.query({}, "SELECT count(*) FROM range(100000) a, range(10000000) b"))
    while not made:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(20):
            await task
    assert made[0].returncode is not None


async def test_a_long_result_is_cut_and_says_so() -> None:
    reply = await Sandbox().query({}, "SELECT i, repeat('x', 30000) FROM range(6000) t(i) ORDER BY i LIMIT 6000")
    assert reply["truncated"]
    assert len(reply["rows"]) < 5_000
    assert len(reply["rows"][0][1]) == 20_001
