"""The tool `run_sql`: one query on the SQL warehouse, shown to the person."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from pydantic import Field

from app.common.caller import Caller
from app.common.identity import identity_key
from app.common.json_values import items, mapping
from app.data.present import for_model, present
from app.data.result_set import ResultSet, result_set
from app.data.stored_results import StoredResults, stored_now
from app.databricks.sql_statements import Json, SqlStatements, StatementFailedError
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceNotFoundError,
    WorkspacePermissionError,
    WorkspaceRateLimitError,
)
from app.settings.sql_settings import SqlSettings
from app.storage.artifacts import ArtifactStore
from app.storage.storage_errors import StorageError
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolError, ToolOutput
from app.translation import Sentence

_log = logging.getLogger(__name__)

_TITLE = Sentence("Running the query")
_PROGRESS = {"PENDING": Sentence("The warehouse is starting…"), "RUNNING": Sentence("Running the query…")}
_SECONDS = 240.0
_MAX_TITLE_CHARACTERS = 200
_DESCRIPTION = (
    "Runs one read-only query in Databricks SQL, such as SELECT, on the SQL warehouse; the person sees the result as a "
    "table and chart. Name tables in full (catalog.schema.table). Without comments in /* */ and hints. What tables and "
    "columns there are is in system.information_schema and samples.information_schema, not in your memory."
)


class SqlArguments(ToolArguments):
    sql: str = Field(description="one query in Databricks SQL; at most 5,000 rows come back")
    title: str = Field("", max_length=_MAX_TITLE_CHARACTERS, description="what it shows, in the person's language")


class SqlTools:
    """A `app.tools.registry.ToolProvider`."""

    def __init__(self, settings: SqlSettings, workspace: WorkspaceClient, artifacts: ArtifactStore) -> None:
        self._allows_external = settings.allows_external
        self._statements = SqlStatements(workspace, settings.warehouse_id)
        self._results = StoredResults(artifacts)

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return [Tool("run_sql", _DESCRIPTION, SqlArguments, self._run, Effect.READ_ONLY, _SECONDS, title=_TITLE)]

    async def _run(self, arguments: SqlArguments, context: ToolContext) -> ToolOutput:
        refusal = await asyncio.to_thread(_refusal, arguments.sql, self._allows_external)
        if refusal:
            raise ToolError(f"The query was not run: {refusal}.")
        try:
            result = _result(await self._response(arguments.sql, context))
        except StatementFailedError as error:
            raise ToolError(f"The query failed: {error}") from error
        except WorkspacePermissionError as error:
            raise ToolError("The SQL warehouse may not be used: the identity needs CAN USE on it.") from error
        except WorkspaceNotFoundError as error:
            raise ToolError("The SQL warehouse is not there any more; the administrator should know.") from error
        except WorkspaceRateLimitError as error:
            raise ToolError("The SQL warehouse is busy; it can be asked again in a minute.") from error
        except WorkspaceError as error:
            _log.warning("A query got no result (%s)", type(error).__name__)
            raise ToolError("The SQL warehouse could not be asked; it can be asked again.") from error
        stored = stored_now(arguments.title, result, identity_key(context.identity), arguments.sql)
        with suppress(StorageError):
            await self._results.save(context.conversation, stored)
        blocks = present(result, context.translate, title=arguments.title, sql=arguments.sql)
        return ToolOutput(for_model(result), blocks)

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


def _result(response: Json) -> ResultSet:
    """Raises `StatementFailedError`."""
    try:
        rows = items(mapping(response.get("result")).get("data_array"))
        return result_set(mapping(response.get("manifest")), rows)
    except ValueError as error:
        raise StatementFailedError(str(error), "NO_COLUMNS") from error
