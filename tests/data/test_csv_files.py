"""Results as CSV: no number changes, no text becomes a formula, and a file is whole or there is none."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.common.identity import APP_IDENTITY, UserIdentity
from app.content.blocks import Cell
from app.data.csv_files import CsvFiles, to_csv
from app.data.result_set import ResultColumn, ResultSet
from app.data.stored_results import StoredResult, StoredResults, stored_now
from app.databricks.statement_chunks import NextChunk, StatementChunks
from app.messaging.result_files import NoResultFileError
from app.storage.sqlite.sqlite_store import SqliteStore
from app.tools.redaction import REMOVED
from tests.data.test_result_tools import ORDERS, data
from tests.fakes.tools import tool_context
from tests.fakes.workspaces import workspace_at


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def one(cell: Cell) -> str:
    return read(to_csv(ResultSet((ResultColumn("v", "STRING"),), ((cell,), ("x",)))))[1][0]


@pytest.mark.parametrize(
    ("cell", "field"),
    [
        ("=1+1", "'=1+1"),
        (" =1+1", "' =1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\r=1", "'\r=1"),
        ("＝1", "'＝1"),
        ("-5", "-5"),
        ("+49.5", "+49.5"),
        ("-1E-3", "-1E-3"),
        ("-1,234.56", "-1,234.56"),
        ("-", "-"),
        ("-E5", "'-E5"),
        ("+.E5", "'+.E5"),
        ("-- comment", "'-- comment"),
        ("-2+3+cmd|'/c calc'!A1", "'-2+3+cmd|'/c calc'!A1"),
        ("123456789012345678901234567890.10", "123456789012345678901234567890.10"),
        (-5, "-5"),
        (9223372036854775807, "9223372036854775807"),
        (0.1, "0.1"),
        (True, "true"),
        ("007", "007"),
        ("dapi" + "0" * 32, REMOVED),
        ("2024-03-31", "2024-03-31"),
        ('a "b", c\nd', 'a "b", c\nd'),
        ("Zürich 東京", "Zürich 東京"),
    ],
)
def test_a_cell_is_written_as_it_is_unless_it_would_be_run(cell: Cell, field: str) -> None:
    assert one(cell) == field


def test_a_file_begins_with_a_byte_order_mark_and_its_header() -> None:
    content = to_csv(ResultSet((ResultColumn("=region", "STRING"), ResultColumn("n", "INT")), (("Porto", None),)))
    assert content == b"\xef\xbb\xbf'=region,n\r\nPorto,\r\n"


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")), min_size=1, max_size=5))
def test_what_is_written_is_read_back_and_begins_as_no_formula(texts: list[str]) -> None:
    content = to_csv(ResultSet((ResultColumn("v", "STRING"),), (tuple(texts[:1]), *((each,) for each in texts))))
    for text, row in zip([texts[0], *texts], read(content)[1:], strict=True):
        (field,) = row or [""]
        assert field in {text, f"'{text}"}
        assert field == "" or field[0] not in "=@\t"


async def test_a_file_has_the_rows_of_all_chunks_or_there_is_none(tmp_path: Path) -> None:
    async with data(tmp_path, rows_per_chunk=40) as tools, workspace_at(tools.workspace.url) as client:
        await tools.sql(ORDERS)
        conversation = tools.context().conversation
        stored = await tools.results.last(conversation, "app")
        assert stored is not None
        files = CsvFiles(tools.results, StatementChunks(client))
        file = await files.make(conversation, stored.id, APP_IDENTITY)
        assert (file.name, file.rows, len(read(file.content))) == ("Orders.csv", 130, 131)
        with pytest.raises(NoResultFileError, match="no longer kept"):
            await files.make(conversation, stored.id, UserIdentity("bob", SecretStr("t")))
        expired = stored.model_copy(update={"unread": NextChunk("gone", 1)})
        await tools.results.save(conversation, expired)
        with pytest.raises(NoResultFileError, match="Not all rows"):
            await files.make(conversation, stored.id, APP_IDENTITY)


@pytest.mark.parametrize(
    ("title", "name"), [("Umsatz je Monat", "Umsatz_je_Monat.csv"), ("../../etc", "etc.csv"), ("", "result.csv")]
)
async def test_a_file_has_a_name_that_names_no_folder(title: str, name: str, tmp_path: Path) -> None:
    async with workspace_at("http://127.0.0.1:9") as client:
        store = SqliteStore(tmp_path / "a.sqlite")
        results, context = StoredResults(store.artifacts()), tool_context()
        stored: StoredResult = stored_now(context, title, ResultSet((ResultColumn("a", "INT"),), ((1,),)))
        await results.save(context.conversation, stored)
        file = await CsvFiles(results, StatementChunks(client)).make(context.conversation, stored.id, APP_IDENTITY)
        assert file.name == name
        await store.close()
