"""Stored results as CSV files that a spreadsheet opens: https://www.rfc-editor.org/rfc/rfc4180"""

from __future__ import annotations

import csv
import io
import re

from app.common.identity import RequestIdentity, identity_key
from app.common.spreadsheet import without_formula
from app.common.text import replace_lone_surrogates
from app.content.blocks import Cell
from app.data.more_rows import with_more_rows
from app.data.rerun import GONE
from app.data.result_set import MAX_ROWS, ResultSet
from app.data.stored_results import StoredResults
from app.databricks.statement_chunks import StatementChunks
from app.databricks.workspace_errors import WorkspaceError
from app.messaging.result_files import NoResultFileError, ResultFile
from app.storage.conversations import ConversationKey
from app.tools.redaction import without_secrets
from app.translation import Sentence

_NOT_WHOLE = Sentence("Not all rows of the result can be read any more. Please run the query again first.")
_MAX_NAME_CHARACTERS = 60
_NOT_IN_A_NAME = re.compile(r"\W+")


class CsvFiles:
    """A `app.messaging.result_files.ResultFiles`."""

    def __init__(self, results: StoredResults, chunks: StatementChunks) -> None:
        self._results = results
        self._chunks = chunks

    async def make(self, conversation: ConversationKey, result: str, identity: RequestIdentity) -> ResultFile:
        stored = await self._results.find(conversation, identity_key(identity), result)
        if stored is None:
            raise NoResultFileError(GONE)
        try:
            whole, unread = await with_more_rows(stored.result, stored.unread, self._chunks, identity)
        except WorkspaceError as error:
            raise NoResultFileError(_NOT_WHOLE) from error
        if unread is not None and len(whole.rows) < MAX_ROWS:
            raise NoResultFileError(_NOT_WHOLE)
        return ResultFile(f"{_file_name(stored.title)}.csv", to_csv(whole), len(whole.rows))


def to_csv(result: ResultSet) -> bytes:
    """With a byte order mark, without which Excel reads UTF-8 as something else. Numbers keep all their digits; a text
    that a spreadsheet would run as a formula gets an apostrophe before it, and secrets are taken out as everywhere.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([without_formula(column.name) for column in result.columns])
    writer.writerows([[_field(cell) for cell in row] for row in result.rows])
    return replace_lone_surrogates(text.getvalue()).encode("utf-8-sig")


def _field(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    return without_formula(without_secrets(cell)) if isinstance(cell, str) else repr(cell)


def _file_name(title: str) -> str:
    return _NOT_IN_A_NAME.sub("_", title).strip("_")[:_MAX_NAME_CHARACTERS] or "result"
