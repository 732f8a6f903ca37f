"""Statements on a SQL warehouse: https://docs.databricks.com/api/workspace/statementexecution"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app.common.identity import RequestIdentity
from app.common.json_values import items, mapping, text
from app.common.log_text import name_or_empty, quoted
from app.databricks.workspace_client import WorkspaceClient, api_path
from app.databricks.workspace_errors import WorkspaceError, WorkspaceReplyError

Json = Mapping[str, Any]

_log = logging.getLogger(__name__)

_STATEMENTS = "/api/2.0/sql/statements"
_MAX_RESULT_BYTES = 26 * 1024 * 1024
"""Databricks sends at most 25 MiB of a result inline."""
_ROW_LIMIT = 5_000
_BYTE_LIMIT = 16 * 1024 * 1024
"""Of rows that are larger than that together, the first are sent; without it, none at all would be."""
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
# Together less than the two seconds that a cancelled tool has.
_LAST_WAIT_FOR_ID_SECONDS = 0.7
_CANCEL_SECONDS = 1.0


class StatementFailedError(Exception):
    """`str()` is the workspace's own message for a person: it may quote data, so it is not for the log.

    `error_code` is Databricks' own, such as BAD_REQUEST, or the state where there is none.
    """

    def __init__(self, message: str, error_code: str) -> None:
        super().__init__(message)
        self.error_code = error_code


class SqlStatements:
    def __init__(
        self,
        workspace: WorkspaceClient,
        warehouse: str,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._workspace = workspace
        self._warehouse = warehouse
        self._sleep = sleep

    async def run(
        self, sql: str, identity: RequestIdentity, *, on_state: Callable[[str], None] = lambda _: None
    ) -> Json:
        """The StatementResponse at its end, with at most 5,000 rows. `on_state` is told PENDING and RUNNING.

        `sql` has to be read-only, as it may run twice. When the task is cancelled, so is the statement, within two
        seconds. Raises `WorkspaceError`, and `StatementFailedError`.
        """
        response = await self._started(sql, identity)
        statement, pause = text(response.get("statement_id")), _FIRST_PAUSE_SECONDS
        try:
            while (state := _state(response)) in {"PENDING", "RUNNING"}:
                if not statement:
                    raise WorkspaceReplyError(f"POST {_STATEMENTS}: no statement_id in the answer")
                on_state(state)
                await self._sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)
                response = await self._workspace.request(
                    "GET",
                    api_path(_STATEMENTS, statement),
                    identity=identity,
                    max_reply_bytes=_MAX_RESULT_BYTES,
                )
        except asyncio.CancelledError:
            await self._cancel(statement, identity)
            raise
        # CLOSED: it succeeded, and its result can no longer be fetched.
        if state != "SUCCEEDED" and not (state == "CLOSED" and _is_complete(response)):
            error = mapping(mapping(response.get("status")).get("error"))
            code = name_or_empty(text(error.get("error_code"))) or name_or_empty(state)
            raise StatementFailedError(quoted(text(error.get("message"))) or f"the statement ended as {code}", code)
        return response

    async def _started(self, sql: str, identity: RequestIdentity) -> Json:
        """Does not wait for the result: until it has an id, a statement cannot be cancelled."""
        body = {
            "warehouse_id": self._warehouse,
            "statement": sql,
            "wait_timeout": "0s",
            "row_limit": _ROW_LIMIT,
            "byte_limit": _BYTE_LIMIT,
            "disposition": "INLINE",
            "format": "JSON_ARRAY",
        }
        request = asyncio.create_task(
            self._workspace.request("POST", _STATEMENTS, identity=identity, json_body=body, idempotent=True)
        )
        try:
            return await asyncio.shield(request)
        except asyncio.CancelledError:
            await asyncio.wait({request}, timeout=_LAST_WAIT_FOR_ID_SECONDS)
            if not request.done():
                request.cancel()
            elif not request.cancelled() and request.exception() is None:
                await self._cancel(text(request.result().get("statement_id")), identity)
            raise

    async def _cancel(self, statement: str, identity: RequestIdentity) -> None:
        if not statement:
            return
        try:
            await self._workspace.request(
                "POST",
                api_path(_STATEMENTS, statement, "cancel"),
                identity=identity,
                idempotent=True,
                time_limit_seconds=_CANCEL_SECONDS,
            )
        except WorkspaceError as error:
            _log.warning("A statement could not be cancelled (%s)", type(error).__name__)


def _state(response: Json) -> str:
    return text(mapping(response.get("status")).get("state"))


def _is_complete(response: Json) -> bool:
    """Whether rows came with it, or there are none."""
    rows = items(mapping(response.get("result")).get("data_array"))
    return bool(rows) or mapping(response.get("manifest")).get("total_row_count") == 0
