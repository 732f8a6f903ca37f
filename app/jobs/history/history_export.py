"""The history as CSV, JSON or a Delta table."""

from __future__ import annotations

import csv
import io
import json
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from app.common.spreadsheet import without_formula
from app.common.text import replace_lone_surrogates
from app.jobs.history.decision_record import DecisionRecord

if TYPE_CHECKING:
    import arro3.core as arrow

_MAX_COMMITS = 20
_CONFLICT_SECONDS = 0.5

HistoryFormat = Literal["csv", "json", "delta"]


class HistoryExportError(Exception):
    """The history cannot be written; its text is a sentence for a person."""


def to_csv(records: Sequence[DecisionRecord]) -> str:
    """A header and a row for each record. What a spreadsheet would run as a formula has an apostrophe before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(DecisionRecord.model_fields)
    for record in records:
        cells = record.model_dump().values()
        writer.writerow([without_formula(cell) if isinstance(cell, str) else cell for cell in cells])
    return replace_lone_surrogates(text.getvalue())


def to_json(records: Sequence[DecisionRecord]) -> str:
    """One list of the rows, with the same keys as `summary["decisions"]`."""
    rows = [record.model_dump() for record in records]
    return replace_lone_surrogates(json.dumps(rows, ensure_ascii=False, indent=1)) + "\n"


def write_delta(table: str, records: Sequence[DecisionRecord]) -> None:
    """Adds the records to the Delta table at this path or URI, and makes it where there is none. A record that it has
    already, by workspace and key, is replaced. Columns that an older version did not know are added.

    Blocks. Raises `HistoryExportError`, also where `deltalake` is not installed.
    """
    try:
        from deltalake.exceptions import CommitFailedError, DeltaError  # noqa: PLC0415 - optional, and 50 MB
    except ImportError:
        message = "A Delta table needs the package deltalake: pip install deltalake."
        raise HistoryExportError(message) from None
    rows = _arrow_rows(list({(record.workspace, record.key): record for record in records}.values()))
    for remaining in reversed(range(_MAX_COMMITS)):
        try:
            _merge(table, rows)
        except (DeltaError, OSError, ValueError) as error:
            # Another export was quicker; the merge has to see what it wrote.
            is_conflict = isinstance(error, CommitFailedError) or "already exists" in str(error)
            if is_conflict and remaining:
                time.sleep(random.uniform(0, _CONFLICT_SECONDS))  # noqa: S311
                continue
            raise HistoryExportError(f"The Delta table could not be written: {str(error)[:300]}") from error
        return


def _merge(table: str, rows: arrow.Table) -> None:
    import deltalake  # noqa: PLC0415

    # Rows come by merges alone, of which two at once conflict.
    found = deltalake.DeltaTable.create(table, rows.schema, mode="ignore")
    if rows.num_rows:
        same = "target.workspace = source.workspace AND target.key = source.key"
        merge = found.merge(rows, same, source_alias="source", target_alias="target", merge_schema=True)
        merge.when_matched_update_all().when_not_matched_insert_all().execute()


def _arrow_rows(records: Sequence[DecisionRecord]) -> arrow.Table:
    import arro3.core as arrow  # noqa: PLC0415

    types = {str: arrow.DataType.utf8(), int: arrow.DataType.int64()}
    columns: dict[str, Any] = {}
    schema = []
    for name, field in DecisionRecord.model_fields.items():
        kind = types[int if field.annotation is int else str]
        cells = [getattr(record, name) for record in records]
        clean = [replace_lone_surrogates(cell) if isinstance(cell, str) else cell for cell in cells]
        columns[name] = arrow.Array(clean, kind)
        schema.append(arrow.Field(name, kind, nullable=True))
    return arrow.Table.from_pydict(columns, schema=arrow.Schema(schema))
