"""The tool `run_sql`: one query on the SQL warehouse, shown to the person."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from pydantic import Field

from app.common.caller import Caller
from app.data.more_rows import all_rows
from app.data.present import present, stored_for_model
from app.data.result_set import ResultSet
from app.data.stored_results import Query, StoredResults, stored_now
from app.databricks.sql_statements import Json, SqlStatements, StatementFailedError
from app.databricks.statement_chunks import NextChunk, StatementChunks
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceNotFoundError,
    WorkspacePermissionError,
    WorkspaceRateLimitError,
)
from app.settings.sql_settings import SqlSettings
from app.storage.storage_errors import StorageError
from app.tools.base import SEEN_AS_TABLE, AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolError, ToolOutput
from app.translation import Sentence

_log = logging.getLogger(__name__)

_TITLE = Sentence("Running the query")
_PROGRESS = {"PENDING": Sentence("The warehouse is starting…"), "RUNNING": Sentence("Running the query…")}
_NOT_ALLOWED = Sentence("The SQL warehouse may not be used: the identity needs CAN USE on it.")
_NO_WAREHOUSE = Sentence("The SQL warehouse is not there any more. Please tell your administrator.")
_BUSY = Sentence("The SQL warehouse is busy. Please ask again in a minute.")
_NOT_REACHED = Sentence("The SQL warehouse could not be asked. Please try again.")
_FAILED = Sentence("The query failed. Please ask in other words.")
_SECONDS = 240.0
CAPABILITY = "sql"
"""The `Query.capability` of its results."""
_MAX_TITLE_CHARACTERS = 200
_DESCRIPTION = (
    "Runs one read-only query in Databricks SQL, such as SELECT, on the SQL warehouse"
    f"{SEEN_AS_TABLE}. Name tables in full (catalog.schema.table). Without comments in /* */ and hints. What tables "
    "and columns there are is in system.information_schema and samples.information_schema, not in your memory."
)


class SqlArguments(ToolArguments):
    sql: str = Field(description="one query in Databricks SQL; at most 5,000 rows come back")
    title: str = Field("", max_length=_MAX_TITLE_CHARACTERS, description="what it shows, in the person's language")


class SqlTools:
    """A `app.tools.registry.ToolProvider`."""

    def __init__(self, settings: SqlSettings, workspace: WorkspaceClient, results: StoredResults) -> None:
        self._allows_external = settings.allows_external
        self._statements = SqlStatements(workspace, settings.warehouse_id)
        self._chunks = StatementChunks(workspace)
        self._results = results

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return [Tool("run_sql", _DESCRIPTION, SqlArguments, self._run, Effect.READ_ONLY, _SECONDS, title=_TITLE)]

    async def _run(self, arguments: SqlArguments, context: ToolContext) -> ToolOutput:
        query = Query(capability=CAPABILITY, sql=arguments.sql)
        result, unread = await self.run_again(query, context)
        stored = stored_now(context, arguments.title, result, query=query, unread=unread)
        with suppress(StorageError):
            await self._results.save(context.conversation, stored)
        return ToolOutput(stored_for_model(stored, context), present(stored, context.translate))

    async def run_again(self, query: Query, context: ToolContext) -> tuple[ResultSet, NextChunk | None]:
        """A `app.data.rerun.QueryRunner`."""
        refusal = await asyncio.to_thread(_refusal, query.sql, self._allows_external)
        if refusal:
            raise ToolError(f"The query was not run: {refusal}.")
        try:
            response = await self._response(query.sql, context)
            return await all_rows(response, self._chunks, context.identity)
        except StatementFailedError as error:
            raise ToolError(f"The query failed: {error}", sentence=context.translate(_FAILED)) from error
        except WorkspacePermissionError as error:
            raise _error(_NOT_ALLOWED, context) from error
        except WorkspaceNotFoundError as error:
            raise _error(_NO_WAREHOUSE, context) from error
        except WorkspaceRateLimitError as error:
            raise _error(_BUSY, context) from error
        except WorkspaceError as error:
            _log.warning("A query got no result (%s)", type(error).__name__)
            raise _error(_NOT_REACHED, context) from error
        except ValueError as error:
            raise ToolError(f"The query failed: {error}", sentence=context.translate(_FAILED)) from error

    async def _response(self, sql: str, context: ToolContext) -> Json:
        said = ""

        def on_state(state: str) -> None:
            nonlocal said
            if state != said:
                said = state
                context.progress(context.translate(_PROGRESS[state]))

        return await self._statements.run(sql, context.identity, on_state=on_state)


def _refusal(sql: str, allows_external: bool) -> str:
    """Why `sql` is not run, or nothing. The parser is imported at the first query: it takes half a second."""
    from app.sql.read_only import NotReadOnlyError, check_read_only  # noqa: PLC0415

    try:
        check_read_only(sql, allows_external=allows_external)
    except NotReadOnlyError as error:
        return str(error)
    return ""


def _error(sentence: Sentence, context: ToolContext) -> ToolError:
    return ToolError(sentence.english, sentence=context.translate(sentence))
