"""The history as files, read back by readers that know nothing of who wrote them."""

from __future__ import annotations

import csv
import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.jobs.history.decision_record import DECISION_SCHEMA, DecisionRecord
from app.jobs.history.history_export import HistoryExportError, to_csv, to_json, write_delta
from app.jobs.job_policy import WatchMode
from app.jobs.watching.job_watch import PassResult
from app.jobs.watching.pass_summary import pass_summary
from tests.jobs.history.delta_reader import read_delta
from tests.jobs.history.sample_records import NASTY_TEXTS, NOON, WORKSPACE, a_record

RECORDS = [
    a_record(run_id, job_name=text, cause=text, error=text, outcome="succeeded" if run_id % 2 else "")
    for run_id, text in enumerate(NASTY_TEXTS, start=2**62)
]


def as_written(value: str | int) -> str | int:
    """No file holds half a character."""
    return value.replace("\ud800", "�") if isinstance(value, str) else value


def rows(records: list[DecisionRecord]) -> list[dict[str, str | int]]:
    return [{name: as_written(value) for name, value in each.model_dump().items()} for each in records]


def test_json_is_one_list_of_rows_with_the_keys_of_a_decision_and_its_outcome() -> None:
    assert json.loads(to_json(RECORDS).encode()) == rows(RECORDS)
    assert json.loads(to_json([])) == []


def test_csv_has_every_cell_and_none_that_a_spreadsheet_runs() -> None:
    header, *lines = csv.reader(io.StringIO(to_csv(RECORDS), newline=""))
    assert header == list(DecisionRecord.model_fields)
    assert len(lines) == len(RECORDS)
    for line, row in zip(lines, rows(RECORDS), strict=True):
        assert [cell.removeprefix("'") for cell in line] == [str(value).removeprefix("'") for value in row.values()]
    cells = [cell for line in lines for cell in line]
    assert [cell for cell in cells if cell.lstrip(" ")[:1] in "=+-@\t\r" and cell not in {"", "-5"}] == []


def test_a_delta_table_has_every_row_once_with_its_newest_outcome(tmp_path: Path) -> None:
    table = tmp_path / "history"
    write_delta(str(table), [])
    assert read_delta(table) == []
    write_delta(str(table), RECORDS[:-1])
    later = [each.model_copy(update={"outcome": "failed"}) for each in RECORDS[-3:]]
    write_delta(str(table), later)
    write_delta(str(table), [])
    expected = rows([*RECORDS[:-3], *later])
    assert sorted(read_delta(table), key=lambda row: row["run_id"]) == expected


@pytest.mark.slow
def test_exports_at_once_lose_no_row(tmp_path: Path) -> None:
    table = str(tmp_path / "history")
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda run: write_delta(table, [a_record(0, outcome="failed"), a_record(run)]), range(1, 4)))
    assert sorted(row["run_id"] for row in read_delta(tmp_path / "history")) == [0, 1, 2, 3]


def test_a_table_of_an_older_version_gets_the_columns_that_it_lacks(tmp_path: Path) -> None:
    older = a_record(1).model_dump()
    del older["wrong_diagnosis"], older["outcome_at"]
    append_as_spark_does(tmp_path / "history", [older])
    write_delta(str(tmp_path / "history"), [a_record(2, wrong_diagnosis=3), a_record(2, wrong_diagnosis=4)])
    found = sorted(read_delta(tmp_path / "history"), key=lambda row: row["run_id"])
    assert [(row["run_id"], row["wrong_diagnosis"]) for row in found] == [(1, None), (2, 4)]


def test_where_deltalake_is_not_installed_the_sentence_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deltalake.exceptions", None)
    with pytest.raises(HistoryExportError, match="pip install deltalake"):
        write_delta(str(tmp_path / "history"), RECORDS)


def test_a_delta_table_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(HistoryExportError, match="could not be written"):
        write_delta(str(tmp_path / "file" / "table"), RECORDS)


def summary_of(*records: DecisionRecord) -> dict[str, Any]:
    result = PassResult("p1", NOON, WatchMode.OBSERVE, records, (), ())
    return pass_summary(result, workspace=WORKSPACE, recipients={"": ["team@example.com"]} if records else {})


def append_as_spark_does(table: Path, added: list[dict[str, Any]]) -> None:
    """Types are those of the values, as of `spark.createDataFrame`; a row of anything else is refused."""
    import arro3.core as arrow
    import deltalake

    types = {str: arrow.DataType.utf8(), int: arrow.DataType.int64()}
    kinds = {name: types[type(value)] for name, value in added[0].items()}
    columns: dict[str, Any] = {name: arrow.Array([row[name] for row in added], kind) for name, kind in kinds.items()}
    assert all(row.keys() == added[0].keys() for row in added)
    deltalake.write_deltalake(str(table), arrow.Table.from_pydict(columns), mode="append")


def test_the_actions_of_an_empty_and_of_a_full_pass_go_into_one_delta_table(tmp_path: Path) -> None:
    actions = ["retried", "retried_with_params", "escalated", "skipped", "proposed"]
    full = summary_of(*(a_record(run, action=action) for run, action in enumerate(actions)))
    for summary in (summary_of(), full, summary_of()):
        append_as_spark_does(tmp_path / "actions", [summary["actions"][action] for action in actions])
    found = read_delta(tmp_path / "actions")
    assert [row["count"] for row in found].count(1) == 5
    assert [row["count"] for row in found].count(0) == 10
    assert {row["run_ids"] for row in found} == {"", "0", "1", "2", "3", "4"}


def test_the_decisions_of_a_pass_go_into_one_delta_table_with_the_history(tmp_path: Path) -> None:
    decisions = summary_of(*(a_record(run) for run in range(3)))["decisions"]
    append_as_spark_does(tmp_path / "decisions", decisions)
    write_delta(str(tmp_path / "decisions"), [a_record(2, outcome="succeeded"), a_record(3)])
    found = sorted(read_delta(tmp_path / "decisions"), key=lambda row: row["run_id"])
    assert [(row["run_id"], row["outcome"]) for row in found] == [(0, ""), (1, ""), (2, "succeeded"), (3, "")]
    assert list(found[0]) == [column.split(" ")[0] for column in DECISION_SCHEMA.split(", ")]
    assert summary_of()["decisions"] == []
