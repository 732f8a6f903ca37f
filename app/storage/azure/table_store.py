"""Conversations and the ledger of turns in an Azure table."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from azure.core.exceptions import ResourceExistsError
from azure.data.tables.aio import TableClient

from app.storage.azure.azure_calls import CLEANING_SECONDS, storage_call
from app.storage.azure.table_entities import (
    AFTER_MESSAGES,
    AFTER_TURNS,
    ALL_THREADS,
    HEAD,
    MESSAGE,
    OPEN,
    TURN,
    Entity,
    closed_entity,
    head_entity,
    is_kind,
    message_entities,
    messages_of,
    open_entity,
    open_row,
    partition_of,
    row_of,
    rows_of_answer,
    started_in,
    tickets_of,
    turn_entity,
    turn_of,
    turn_row,
)
from app.storage.azure.table_rows import TableConflictError, TableRows, update_if_same, write_if_same
from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.ledger import (
    MAX_ENTRY_SECONDS,
    BeginResult,
    Predecessor,
    TurnKey,
    TurnRecord,
    TurnState,
    entered_by,
    next_ticket,
)
from app.storage.sanitize_text import sanitize_turn
from app.storage.storage_errors import ConcurrentUpdateError

# The first call of a worker also gets a token and opens connections.
_MAX_FIRST_ENTRY_SECONDS = 1.0
# Below the 0 of skipped turns: all open turns count.
_ANY_LEASE = -1.0


class ConversationArtifacts(Protocol):
    """What the store needs to delete artifacts with their conversation."""

    async def delete_conversation(self, key: ConversationKey, *, threads: bool = False) -> None: ...

    async def delete_before(self, moment: float) -> int: ...

    async def close(self) -> None: ...


class TableStore:
    """Creates the table if it is missing. Deletes a conversation's `artifacts` with it.

    `clock` is in seconds since 1970. `artifacts` is closed with the store.
    """

    def __init__(
        self, table: TableClient, artifacts: ConversationArtifacts, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._table = table
        self._artifacts = artifacts
        self._rows = TableRows(table)
        self._clock = clock
        self._max_entry_seconds = _MAX_FIRST_ENTRY_SECONDS

    async def create(self) -> None:
        with suppress(ResourceExistsError):
            await self._table.create_table()

    @storage_call()
    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        return messages_of(await self._rows_until(key, MESSAGE, limit), limit)

    @storage_call()
    async def remove_exchange(self, key: ConversationKey, activity_id: str) -> None:
        first, after = row_of(key, MESSAGE), row_of(key, AFTER_MESSAGES)
        rows = await self._rows.between(partition_of(key), first, after)
        await self._rows.delete(rows_of_answer(rows, activity_id))

    @storage_call()
    async def forget(self, key: ConversationKey, *, threads: bool = False) -> None:
        await self._artifacts.delete_conversation(key, threads=threads)
        first, after = ALL_THREADS if threads else (row_of(key, MESSAGE), row_of(key, AFTER_MESSAGES))
        rows = await self._rows.between(partition_of(key), first, after, keys_only=True)
        await self._rows.delete([row for row in rows if is_kind(row, MESSAGE)])
        first, after = ALL_THREADS if threads else (row_of(key, TURN), row_of(key, AFTER_TURNS))
        for turn in await self._rows.suspended_turns(partition_of(key), first, after):
            # A turn that is resumed meanwhile is open, and is closed when it has been answered.
            with suppress(TableConflictError):
                await self._rows.put(closed_entity(turn), turn["etag"])

    @storage_call()
    async def begin(self, turn: TurnRecord, *, history_limit: int, waits: bool = False) -> BeginResult | None:
        turn, key, conflicts, began = sanitize_turn(turn), turn.key.conversation, 0, self._clock()
        while True:
            rows = await self._rows_until(key, HEAD, history_limit)
            history = tuple(messages_of(rows, history_limit))
            delayed = waits or self._clock() - began > self._max_entry_seconds
            entered = await self._enter(turn, rows, history, delayed=delayed)
            self._max_entry_seconds = MAX_ENTRY_SECONDS
            if entered is not None:
                return entered
            found = await self._find(turn.key)
            if entered_by(found, turn.owner):
                return BeginResult(found, history, delayed or await self._start(found, _ANY_LEASE) is not None, delayed)
            if (found.version if found else "") != turn.version:
                return None
            # Another turn of the conversation was entered or started at the same time.
            conflicts += 1
            await asyncio.sleep(random.uniform(0, min(conflicts, 20) * 0.005))  # noqa: S311 - spreads retries, no secret

    @storage_call()
    async def find(self, key: TurnKey) -> TurnRecord | None:
        return await self._find(key)

    @storage_call()
    async def change(self, record: TurnRecord) -> TurnRecord:
        record = sanitize_turn(record)
        try:
            version = await self._rows.put(turn_entity(record, self._clock()), record.version)
        except TableConflictError as conflict:
            found = await self._find(record.key)
            if found is None or replace(found, version=record.version) != record:
                raise ConcurrentUpdateError from conflict
            return found
        return replace(record, version=version)

    @storage_call()
    async def end(
        self, record: TurnRecord, state: TurnState, messages: Sequence[StoredMessage], *, result: str = ""
    ) -> None:
        now, key = self._clock(), record.key.conversation
        ended = sanitize_turn(record.ended(state, result))
        operations = [update_if_same(turn_entity(ended, now), record.version)]
        operations += [("upsert", entity) for entity in message_entities(key, record.ticket, messages, now)]
        operations.append(("delete", {"PartitionKey": partition_of(key), "RowKey": open_row(record)}))
        try:
            await self._rows.transaction(operations)
        except TableConflictError as conflict:
            found = await self._find(record.key)
            if found is None or (found.state, found.owner) != (state, record.owner):
                raise ConcurrentUpdateError from conflict

    @storage_call()
    async def start(self, record: TurnRecord, *, since: float = 0.0) -> Predecessor | None:
        return await self._start(record, since)

    @storage_call()
    async def skip(self, record: TurnRecord, predecessor: Predecessor) -> None:
        for turn in await self._open_turns(await self._rows_before(record)):
            if (int(turn["ticket"]), turn["lease_until"]) == (predecessor.ticket, predecessor.lease_until):
                # Another worker was faster: it has claimed or closed the turn.
                with suppress(TableConflictError):
                    skipped = {name: value for name, value in turn.items() if name != "etag"} | {"lease_until": 0.0}
                    await self._rows.put(skipped, turn["etag"])

    @storage_call(CLEANING_SECONDS)
    async def delete_before(self, moment: float) -> int:
        deleted = await self._artifacts.delete_before(moment)
        async for rows in self._rows.older(float(moment)):
            deleted += await self._delete_older(rows)
        return deleted

    @storage_call()
    async def ping(self) -> None:
        await self._rows.ping()

    async def close(self) -> None:
        await self._artifacts.close()
        await self._table.close()

    async def _rows_until(self, key: ConversationKey, kind: str, limit: int) -> list[Entity]:
        """From the first row of `kind` on, until there are `limit` messages."""
        rows: list[Entity] = []
        # There are other rows beside the messages: the head and those of open turns.
        first, after, page_size = row_of(key, kind), row_of(key, AFTER_MESSAGES), limit + 20
        async for page in self._rows.pages(partition_of(key), first, after, page_size=page_size):
            rows += page
            if len(messages_of(rows, limit)) == limit:
                break
        return rows

    async def _enter(
        self, turn: TurnRecord, rows: Sequence[Entity], history: tuple[StoredMessage, ...], *, delayed: bool
    ) -> BeginResult | None:
        now, key, opened = self._clock(), turn.key.conversation, tickets_of(rows)
        started, version = started_in(rows)
        ticket = next_ticket(turn.ticket, started=started, taken=opened)
        has_predecessor = delayed or any(earlier < ticket for earlier in opened)
        entered, head = replace(turn, ticket=ticket), head_entity(key, started if has_predecessor else ticket, now)
        try:
            versions = await self._rows.transaction(
                [
                    write_if_same(turn_entity(entered, now), turn.version),
                    ("create", open_entity(entered, now)),
                    # Even if nothing in it changes: a turn that is entered at the same time gets a conflict.
                    write_if_same(head, version),
                ]
            )
        except TableConflictError:
            return None
        return BeginResult(replace(entered, version=versions[0]), history, has_predecessor, delayed)

    async def _start(self, record: TurnRecord, since: float) -> Predecessor | None:
        while True:
            rows = await self._rows_before(record)
            turns = await self._open_turns(rows)
            first = next((turn for turn in turns if turn["lease_until"] > since), None)
            if first is not None:
                return Predecessor(int(first["ticket"]), first["lease_until"])
            started, version = started_in(rows)
            if started >= record.ticket:
                return None
            # A conflict if another turn has been entered since the rows were read.
            with suppress(TableConflictError):
                await self._rows.put(head_entity(record.key.conversation, record.ticket, self._clock()), version)
                return None

    async def _find(self, key: TurnKey) -> TurnRecord | None:
        entity = await self._rows.get(partition_of(key.conversation), turn_row(key))
        return None if entity is None else turn_of(key, entity)

    async def _rows_before(self, record: TurnRecord) -> list[Entity]:
        """The head, and the rows of earlier open turns."""
        key = record.key.conversation
        return await self._rows.between(partition_of(key), row_of(key, HEAD), open_row(record))

    async def _open_turns(self, rows: Sequence[Entity]) -> list[Entity]:
        opened = [row for row in rows if is_kind(row, OPEN)]
        turns = await asyncio.gather(*(self._rows.get(row["PartitionKey"], row["turn_row"]) for row in opened))
        return [turn for turn in turns if turn is not None and turn["state"] == TurnState.STARTED]

    async def _delete_older(self, rows: Sequence[Entity]) -> int:
        """Deletes rows of one conversation. An open turn that is still renewed keeps the row of its ticket."""
        old = {row["RowKey"] for row in rows}
        opened = [row for row in rows if is_kind(row, OPEN)]
        ended = [
            row
            for row in opened
            if row["turn_row"] in old or await self._rows.get(row["PartitionKey"], row["turn_row"]) is None
        ]
        # Before the turns: without its turn such a row would never be found again.
        await self._rows.delete(ended)
        others = [row for row in rows if not is_kind(row, OPEN)]
        deleted = await self._rows.delete(others, only_same=True)
        return sum(is_kind(row, MESSAGE, TURN) for row in deleted)
