"""A table service that says that it is busy is asked again."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from azure.core.exceptions import HttpResponseError
from azure.data.tables.aio import TableClient

from app.storage.azure.table_rows import TableRows
from tests.fakes.virtual_time import VirtualTimeLoop


class BusyTable:
    def __init__(self, *codes: str) -> None:
        self._codes = list(codes)
        self.calls = 0

    async def submit_transaction(self, operations: list[Any], **_: Any) -> list[dict[str, str]]:
        self.calls += 1
        if not self._codes:
            return [{"etag": "v1"} for _ in operations]
        error = HttpResponseError("no")
        error.error_code = self._codes.pop(0)  # type: ignore[attr-defined]
        raise error


def written(table: BusyTable) -> list[str]:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(TableRows(cast(TableClient, table)).transaction([("create", {"RowKey": "r"})]))


def test_a_transaction_is_repeated_while_the_service_is_busy() -> None:
    table = BusyTable("ServerBusy", "OperationTimedOut", "InternalError")
    assert written(table) == ["v1"]
    assert table.calls == 4


def test_after_eight_tries_or_another_error_it_fails() -> None:
    for table, calls in ((BusyTable(*["ServerBusy"] * 20), 8), (BusyTable("AuthorizationFailure"), 1)):
        with pytest.raises(HttpResponseError):
            written(table)
        assert table.calls == calls
