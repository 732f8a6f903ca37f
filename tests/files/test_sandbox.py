"""Queries on files, in the process of their own: what it reads and how, and what it refuses."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from app.files import sandbox
from app.files.sandbox import Sandbox, SandboxError, SandboxFile, SandboxTimeoutError
from app.files.sandbox_process import CONFIG, RefusedQueryError, answer

SALES = SandboxFile("sales", "csv", "region,revenue,on\nPorto,1.10,2024-01-02\nLyon,-2.25,2024-02-03\n")


async def rows(sql: str, *files: SandboxFile) -> list[list[str | None]]:
    found: list[list[str | None]] = (await Sandbox().query(files or (SALES,), sql))["rows"]
    return found


async def test_a_query_reads_the_files_by_their_names() -> None:
    regions = SandboxFile("regions", "csv", "name;country\nPorto;Portugal\n")
    notes = SandboxFile("notes", "text", "first\nsecond, Porto\n")
    reply = await Sandbox().query(
        (SALES, regions, notes),
        "SELECT country, sum(revenue) AS total, any_value(text) FROM sales JOIN regions ON region = name "
        "JOIN notes ON contains(text, region) GROUP BY ALL -- all of it",
    )
    assert reply["rows"] == [["Portugal", "1.10", "second, Porto"]]
    assert [name for name, _ in reply["columns"]][:2] == ["country", "total"]


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
def test_a_query_that_would_leave_the_tables_or_change_them_is_refused(sql: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hidden")
    sales = tmp_path / "sales.csv"
    sales.write_text(SALES.text)
    request: dict[str, Any] = {"tables": [{"table": "sales", "path": str(sales), "kind": "csv"}]}
    request["sql"] = sql.format(file=secret, folder=tmp_path) or ";"
    with duckdb.connect(":memory:", config=CONFIG) as connection:
        with pytest.raises((RefusedQueryError, duckdb.Error)) as refused:
            answer(connection, request)
        assert "hidden" not in str(refused.value)
        assert connection.execute("SELECT count(*) FROM sales").fetchone() == (2,)
    assert sorted(os.listdir(tmp_path)) == ["sales.csv", "secret.txt"]


async def test_a_query_that_duckdb_cannot_interrupt_is_ended_at_its_time_limit() -> None:
    started = time.monotonic()
    with pytest.raises(SandboxTimeoutError, match="1 seconds"):
        await Sandbox(1.0).query((SALES,), "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))")
    assert time.monotonic() - started < 9


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot limit a process's memory")
async def test_a_query_that_takes_too_much_memory_fails_alone() -> None:
    with pytest.raises(SandboxError):
        await Sandbox().query((SALES,), "SELECT length(repeat('a', 4000000000))")
    assert await rows("SELECT count(*) FROM sales") == [["2"]]


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
    task = asyncio.create_task(Sandbox().query((SALES,), "SELECT count(*) FROM range(100000) a, range(10000000) b"))
    while not made:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert made[0].returncode is not None


async def test_a_long_result_is_cut_and_says_so() -> None:
    reply = await Sandbox().query((SALES,), "SELECT i, repeat('x', 30000) FROM range(6000) t(i) ORDER BY i LIMIT 6000")
    assert reply["truncated"]
    assert len(reply["rows"]) < 5_000
    assert len(reply["rows"][0][1]) == 20_001
