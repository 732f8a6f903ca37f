"""Reads and conditional writes of an Azure table's rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.data.tables import TableEntity, UpdateMode
from azure.data.tables.aio import TableClient

from app.resilience.retry import Backoff, retry
from app.storage.azure.azure_calls import code_of
from app.storage.azure.table_entities import Entity

Operation = tuple[Any, ...]

# Azure's own limits for one transaction and one page.
_MAX_OPERATIONS = 100
_MAX_PAGE_SIZE = 1000
# https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes
_CONFLICT_CODES = {"EntityAlreadyExists", "UpdateConditionNotSatisfied", "ResourceNotFound", "EntityNotFound"}
# The client does not repeat a transaction if only one of its operations failed with these.
_BUSY_CODES = {"ServerBusy", "OperationTimedOut", "InternalError", "InternalServerError"}
_BACKOFF = Backoff(0.1, longest_seconds=1.0, attempts=8)
# The client repeats no POST by default. It may repeat ours: after a conflict the caller looks for its own write.
_RETRY_OPTIONS = {"retry_on_methods": ["HEAD", "GET", "PUT", "DELETE", "OPTIONS", "TRACE", "POST"]}
_KEYS = ["PartitionKey", "RowKey", "Timestamp", "turn_row"]


class TableConflictError(Exception):
    """The row to create exists, or the row to change is gone or has another version."""


def update_if_same(entity: Entity, version: str) -> Operation:
    return ("update", entity, {"mode": UpdateMode.REPLACE, **_if_match(version)})


def write_if_same(entity: Entity, version: str) -> Operation:
    """Creates the row where `version` is empty."""
    return update_if_same(entity, version) if version else ("create", entity)


def delete_if_same(partition: str, row: str, version: str) -> Operation:
    return ("delete", {"PartitionKey": partition, "RowKey": row}, _if_match(version))


class TableRows:
    """A row's version is its ETag."""

    def __init__(self, table: TableClient) -> None:
        self._table = table

    async def get(self, partition: str, row: str) -> Entity | None:
        try:
            return _entity(await self._table.get_entity(partition, row))
        except ResourceNotFoundError as error:
            if code_of(error) == "TableNotFound":
                raise
            return None

    async def pages(
        self, partition: str, first: str, after: str, *, page_size: int | None = None, keys_only: bool = False
    ) -> AsyncIterator[list[Entity]]:
        """The rows of a partition from `first` on and before `after`."""
        query = self._table.query_entities(
            "PartitionKey eq @partition and RowKey ge @first and RowKey lt @after",
            parameters={"partition": partition, "first": first, "after": after},
            results_per_page=None if page_size is None else min(page_size, _MAX_PAGE_SIZE),
            select=_KEYS if keys_only else None,
        )
        async for page in query.by_page():
            yield [_entity(row) async for row in page]

    async def between(self, partition: str, first: str, after: str, *, keys_only: bool = False) -> list[Entity]:
        """All rows of a partition from `first` on and before `after`."""
        return [row async for page in self.pages(partition, first, after, keys_only=keys_only) for row in page]

    async def suspended_turns(self, partition: str, first: str, after: str) -> list[Entity]:
        query = self._table.query_entities(
            "PartitionKey eq @partition and RowKey ge @first and RowKey lt @after and state eq @state",
            parameters={"partition": partition, "first": first, "after": after, "state": "suspended"},
        )
        return [_entity(row) async for row in query]

    async def older(self, moment: float) -> AsyncIterator[list[Entity]]:
        """The keys of all rows that were last written before `moment`; each list is of one partition."""
        query = self._table.query_entities("written_at lt @moment", parameters={"moment": moment}, select=_KEYS)
        rows: list[Entity] = []
        async for found in query:
            if rows and rows[0]["PartitionKey"] != found["PartitionKey"]:
                yield rows
                rows = []
            rows.append(_entity(found))
        if rows:
            yield rows

    async def expired(self, moment: float) -> AsyncIterator[Entity]:
        """The rows whose `expires_at` has passed."""
        query = self._table.query_entities("expires_at le @moment", parameters={"moment": moment})
        async for found in query:
            yield _entity(found)

    async def ping(self) -> None:
        """Reads an empty range."""
        async for _ in self._table.query_entities("PartitionKey eq ''", results_per_page=1):
            return

    async def put(self, entity: Entity, version: str) -> str:
        """Creates the row if `version` is empty, else replaces that version. Returns the new version.

        Raises `TableConflictError`.
        """
        if not version:
            # For a failed creation outside of a transaction the client gives no error code.
            return (await self.transaction([write_if_same(entity, version)]))[0]
        try:
            # Half the CPU time of a transaction.
            written = await self._table.update_entity(entity, UpdateMode.REPLACE, **_if_match(version))
        except HttpResponseError as error:
            raise _conflict_or_same(error) from error
        return str(written["etag"])

    async def transaction(self, operations: Sequence[Operation]) -> list[str]:
        """Makes all changes or none; returns the new versions. Raises `TableConflictError`."""
        try:
            done = await retry(lambda: self._table.submit_transaction(operations, **_RETRY_OPTIONS), _pause_if_busy)
        except HttpResponseError as error:
            raise _conflict_or_same(error) from error
        return [str(operation.get("etag")) for operation in done]

    async def delete(self, rows: Sequence[Entity], *, only_same: bool = False) -> list[Entity]:
        """Deletes rows of one partition, with `only_same` those that have not been written since they were read.

        Returns those that it deleted.
        """
        deleted: list[Entity] = []
        for start in range(0, len(rows), _MAX_OPERATIONS):
            some = rows[start : start + _MAX_OPERATIONS]
            try:
                await self.transaction([_delete(row, only_same=only_same) for row in some])
                deleted += some
            except TableConflictError:
                deleted += [row for row in some if await self._delete_one(row, only_same=only_same)]
        return deleted

    async def _delete_one(self, row: Entity, *, only_same: bool) -> bool:
        try:
            await self.transaction([_delete(row, only_same=only_same)])
        except TableConflictError:
            return False
        return True


def _pause_if_busy(failure: Exception, attempt: int) -> float | None:
    busy = isinstance(failure, HttpResponseError) and code_of(failure) in _BUSY_CODES
    return _BACKOFF.pause_seconds(attempt) if busy else None


def _delete(row: Entity, *, only_same: bool) -> Operation:
    if only_same:
        return delete_if_same(row["PartitionKey"], row["RowKey"], row["etag"])
    return ("delete", {"PartitionKey": row["PartitionKey"], "RowKey": row["RowKey"]})


def _if_match(version: str) -> dict[str, Any]:
    return {"etag": version, "match_condition": MatchConditions.IfNotModified}


def _entity(found: TableEntity) -> Entity:
    return {**found, "etag": str(found.metadata["etag"])}


def _conflict_or_same(error: HttpResponseError) -> Exception:
    return TableConflictError(code_of(error)) if code_of(error) in _CONFLICT_CODES else error
