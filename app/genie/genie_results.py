"""The rows of a query of Genie's, read or run again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from app.common.identity import RequestIdentity
from app.common.json_values import items, mapping, text
from app.data.more_rows import first_rows
from app.data.result_set import ResultSet
from app.data.stored_results import Query
from app.databricks.genie_api import GenieApi
from app.databricks.statement_chunks import NextChunk
from app.databricks.workspace_errors import (
    WorkspaceError,
)
from app.genie.genie_sentences import failure_sentence, workspace_sentence
from app.genie.looking import look, pauses_seconds
from app.tools.base import ToolContext, ToolError

CAPABILITY = "genie"
"""The `Query.capability` of its results."""
_RUNNING_STATES = frozenset({"PENDING", "RUNNING"})
_ROWS_STATES = frozenset({"SUCCEEDED", "CLOSED", ""})


@dataclass(frozen=True, slots=True)
class QueryIds:
    """Where Genie has a query: the attachment of a message."""

    space: str
    conversation: str
    message: str
    attachment: str

    def query(self, sql: str) -> Query:
        return Query(capability=CAPABILITY, sql=sql, ids=asdict(self))


class QueryFailedError(Exception):
    """The query ended without rows."""


class GenieResults:
    def __init__(self, api: GenieApi, sleep: Callable[[float], Awaitable[object]]) -> None:
        self._api = api
        self._sleep = sleep

    async def read(
        self, ids: QueryIds, identity: RequestIdentity, *, anew: bool, on_statement: Callable[[str], None]
    ) -> tuple[ResultSet, NextChunk | None]:
        """The rows of the first chunk, once the query has ended; `anew` it is run first. `on_statement` is told the id
        of the statement that runs, and "" when none does any more.

        Raises `WorkspaceError`, `QueryFailedError`, and `ValueError` for a result without columns.
        """
        call = self._api.execute_query if anew else self._api.query_result
        where = (ids.space, ids.conversation, ids.message, ids.attachment)
        response = _statement(await look(lambda: call(*where, identity), self._sleep))
        pauses = pauses_seconds()
        while _state(response) in _RUNNING_STATES:
            on_statement(text(response.get("statement_id")))
            await self._sleep(next(pauses))
            response = _statement(await look(lambda: self._api.query_result(*where, identity), self._sleep))
        on_statement("")
        # CLOSED: it succeeded, and its further chunks can no longer be read.
        if _state(response) not in _ROWS_STATES and not items(mapping(response.get("result")).get("data_array")):
            raise QueryFailedError
        return first_rows(response)


class GenieReruns:
    """A `app.data.rerun.QueryRunner`."""

    def __init__(self, api: GenieApi, sleep: Callable[[float], Awaitable[object]]) -> None:
        self._api = api
        self._results = GenieResults(api, sleep)

    async def run_again(self, query: Query, context: ToolContext) -> tuple[ResultSet, NextChunk | None]:
        running = ""

        def on_statement(statement: str) -> None:
            nonlocal running
            running = statement

        ids = QueryIds(**query.ids)
        completed = False
        try:
            rows = await self._results.read(ids, context.identity, anew=True, on_statement=on_statement)
            completed = True
        except WorkspaceError as error:
            failed = workspace_sentence(error)
            raise ToolError(failed.english, sentence=context.translate(failed)) from error
        except (QueryFailedError, ValueError) as error:
            failed = failure_sentence("SQL_EXECUTION_EXCEPTION" if isinstance(error, QueryFailedError) else "")
            raise ToolError(failed.english, sentence=context.translate(failed)) from error
        finally:
            if running and not completed and not context.cancellation.goes_on_elsewhere:
                with suppress(WorkspaceError):
                    await self._api.cancel_statement(running, context.identity)
        return rows


def _statement(told: Mapping[str, Any]) -> Mapping[str, Any]:
    response = told.get("statement_response")
    return response if isinstance(response, Mapping) else told


def _state(response: Mapping[str, Any]) -> str:
    return text(mapping(response.get("status")).get("state"))
