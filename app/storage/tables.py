"""Conversations and the ledger of turns in an Azure table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableTransactionError, UpdateMode
from azure.data.tables.aio import TableClient

from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.entities import (
    AFTER_MESSAGES,
    HEAD,
    LEDGER,
    MESSAGES,
    OPEN,
    Entity,
    head_entity,
    ledger_row,
    message_entities,
    messages_of,
    open_entity,
    open_row,
    partition_of,
    turn_entity,
    turn_of,
)
from app.storage.ledger import Begun, Changed, TurnKey, TurnRecord, TurnState

# Azure's own limit for one transaction.
_MOST_IN_ONE = 100
_TRIES = 20


class TableStore:
    """Raises what azure-core raises when storage does not answer. `clock` is in seconds since 1970."""

    def __init__(self, table: TableClient, *, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock

    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        return messages_of(await self._rows(key, MESSAGES, AFTER_MESSAGES, limit), limit)

    async def begin(self, turn: TurnRecord, *, remember: int) -> Begun | None:
        key = turn.key.conversation
        for _ in range(_TRIES):
            rows = await self._rows(key, HEAD, AFTER_MESSAGES, remember)
            head = next((row for row in rows if row["RowKey"] == HEAD), None)
            now = self._clock()
            # From the clock, so that tickets go on rising where an old head was deleted.
            ticket = max(int(now * 1000), int(head["ticket"]) + 1 if head else 0)
            entered = replace(turn, ticket=ticket)
            try:
                done = await self._table.submit_transaction(
                    [
                        ("create", turn_entity(entered, now)),
                        ("create", open_entity(entered, now)),
                        _head_operation(key, ticket, now, head),
                    ]
                )
            except TableTransactionError as error:
                if _code(error) not in ("EntityAlreadyExists", "UpdateConditionNotSatisfied"):
                    raise
                found = await self.find(turn.key)
                if found is None:
                    # Another turn of the conversation has just been given the ticket.
                    continue
                if found.owner != turn.owner:
                    return None
                # Our own, of a try whose answer was lost on the way.
                return Begun(found, tuple(messages_of(_messages(rows), remember)), await self.waits(found))
            record = replace(entered, version=done[0]["etag"])
            waits = any(row["RowKey"].startswith(OPEN) for row in rows)
            return Begun(record, tuple(messages_of(_messages(rows), remember)), waits)
        raise TimeoutError("the conversation's row was always changed by others")

    async def find(self, key: TurnKey) -> TurnRecord | None:
        try:
            entity = await self._table.get_entity(partition_of(key.conversation), ledger_row(key))
        except ResourceNotFoundError:
            return None
        return turn_of(key, entity, str(entity.metadata["etag"]))

    async def change(self, record: TurnRecord) -> TurnRecord:
        entity = turn_entity(record, self._clock())
        try:
            done = await self._table.update_entity(
                entity, UpdateMode.REPLACE, etag=record.version, match_condition=MatchConditions.IfNotModified
            )
        except (HttpResponseError, ResourceExistsError) as error:
            if error.status_code not in (404, 412):
                raise
            found = await self.find(record.key)
            if found is None or replace(found, version=record.version) != record:
                raise Changed from error
            return found
        return replace(record, version=done["etag"])

    async def end(self, record: TurnRecord, state: TurnState, messages: Sequence[StoredMessage]) -> None:
        now = self._clock()
        key = record.key.conversation
        closed = replace(record, state=state, begun="", shown="")
        match = {"mode": UpdateMode.REPLACE, "etag": record.version, "match_condition": MatchConditions.IfNotModified}
        operations: list[Any] = [("update", turn_entity(closed, now), match)]
        operations += [("upsert", entity) for entity in message_entities(key, record.ticket, messages, now)]
        operations.append(("delete", {"PartitionKey": partition_of(key), "RowKey": open_row(record.ticket)}))
        try:
            await self._table.submit_transaction(operations)
        except TableTransactionError as error:
            if _code(error) not in ("UpdateConditionNotSatisfied", "ResourceNotFound", "EntityNotFound"):
                raise
            found = await self.find(record.key)
            if found is None or (found.state, found.owner) != (state, record.owner):
                raise Changed from error

    async def waits(self, record: TurnRecord) -> bool:
        return bool(await self._rows(record.key.conversation, OPEN, open_row(record.ticket), 1))

    async def append(self, key: ConversationKey, messages: Sequence[StoredMessage]) -> None:
        now = self._clock()
        entities = message_entities(key, int(now * 1000), messages, now)
        await self._table.submit_transaction([("create", entity) for entity in entities])

    async def forget(self, key: ConversationKey) -> None:
        await self._delete(await self._rows(key, MESSAGES, AFTER_MESSAGES, None))

    async def delete_before(self, moment: float) -> int:
        query = self._table.query_entities(
            "written lt @moment", parameters={"moment": moment}, select=["PartitionKey", "RowKey", "state"]
        )
        old = [row async for row in query if not row["RowKey"].startswith(OPEN) and row.get("state") != "started"]
        await self._delete(old)
        return sum(row["RowKey"].startswith((MESSAGES, LEDGER)) for row in old)

    async def ping(self) -> None:
        async for _ in self._table.query_entities("PartitionKey eq ''", results_per_page=1):
            return

    async def close(self) -> None:
        await self._table.close()

    async def _rows(self, key: ConversationKey, first: str, after: str, limit: int | None) -> list[Entity]:
        """The conversation's rows from `first` on and before `after`; of messages `limit` or more, where there are."""
        query = self._table.query_entities(
            "PartitionKey eq @partition and RowKey ge @first and RowKey lt @after",
            parameters={"partition": partition_of(key), "first": first, "after": after},
            # Beside the messages there are the head, and as many open turns as people are in a hurry.
            results_per_page=None if limit is None else min(limit + 20, 1000),
        )
        rows: list[Entity] = []
        async for page in query.by_page():
            rows += [{**row, "etag": row.metadata["etag"]} async for row in page]
            if limit is not None and len(messages_of(_messages(rows), limit)) == limit:
                break
        return rows

    async def _delete(self, rows: Sequence[Entity]) -> None:
        partitions: dict[str, list[Any]] = {}
        for row in rows:
            keys = {"PartitionKey": row["PartitionKey"], "RowKey": row["RowKey"]}
            partitions.setdefault(row["PartitionKey"], []).append(("delete", keys))
        for operations in partitions.values():
            for start in range(0, len(operations), _MOST_IN_ONE):
                await self._table.submit_transaction(operations[start : start + _MOST_IN_ONE])


def _code(error: HttpResponseError) -> str:
    return str(getattr(error, "error_code", None) or "").rpartition(".")[2]


def _messages(rows: Sequence[Entity]) -> list[Entity]:
    return [row for row in rows if row["RowKey"].startswith(MESSAGES)]


def _head_operation(key: ConversationKey, ticket: int, now: float, head: Entity | None) -> Any:  # noqa: ANN401
    entity = head_entity(key, ticket, now)
    if head is None:
        return ("create", entity)
    return (
        "update",
        entity,
        {"mode": UpdateMode.REPLACE, "etag": head["etag"], "match_condition": MatchConditions.IfNotModified},
    )
