"""Conversations, the ledger of turns and small records in an Azure table."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ResourceExistsError
from azure.data.tables.aio import TableClient

from app.storage.azure_calls import bounded
from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.entities import (
    AFTER,
    EVERYTHING,
    HEAD,
    LASTING,
    MESSAGE,
    OPEN,
    RECORD,
    TURN,
    Entity,
    head_entity,
    is_kind,
    message_entities,
    messages_of,
    open_entity,
    open_row,
    partition_of,
    record_entity,
    record_of,
    record_row,
    row_of,
    turn_entity,
    turn_of,
    turn_row,
)
from app.storage.ledger import Ahead, Begun, Changed, TurnKey, TurnRecord, TurnState
from app.storage.records import Record, RecordKey
from app.storage.table_rows import Conflict, Rows, update_if_same
from app.storage.texts import storable, storable_turn

_LONGEST_CLEANING = 240.0


class TableStore:
    """Makes the table if it is missing. `clock` is in seconds since 1970; `credential` is closed with the store."""

    def __init__(
        self,
        table: TableClient,
        *,
        clock: Callable[[], float] = time.time,
        credential: AsyncTokenCredential | None = None,
    ) -> None:
        self._table = table
        self._credential = credential
        self._rows = Rows(table)
        self._clock = clock

    async def make(self) -> None:
        with suppress(ResourceExistsError):
            await self._table.create_table()

    @bounded()
    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        return messages_of(await self._of_thread(key, MESSAGE, MESSAGE, limit=limit), limit)

    @bounded()
    async def forget(self, key: ConversationKey, *, threads: bool = False) -> None:
        first, after = EVERYTHING if threads else (row_of(key, MESSAGE), row_of(key, AFTER[RECORD]))
        rows = await self._rows.between(partition_of(key), first, after, keys_only=True)
        await self._rows.delete([row for row in rows if is_kind(row, MESSAGE, RECORD, LASTING)])

    @bounded()
    async def begin(self, turn: TurnRecord, *, remember: int) -> Begun | None:
        turn, key, conflicts = storable_turn(turn), turn.key.conversation, 0
        while True:
            rows = await self._of_thread(key, HEAD, MESSAGE, limit=remember)
            entered = await self._enter(turn, next((row for row in rows if is_kind(row, HEAD)), None))
            history = tuple(messages_of(rows, remember))
            if entered is not None:
                return Begun(entered, history, any(is_kind(row, OPEN) for row in rows))
            found = await self._find(turn.key)
            if found is not None:
                if (found.owner, found.state) != (turn.owner, TurnState.STARTED):
                    return None
                # Our own, of a try whose answer was lost on the way.
                return Begun(found, history, bool(await self._open_before(found)))
            # Another turn of the conversation has just been given the ticket.
            conflicts += 1
            await asyncio.sleep(random.uniform(0, min(conflicts, 20) * 0.005))  # noqa: S311 - spreads tries, no secret

    @bounded()
    async def find(self, key: TurnKey) -> TurnRecord | None:
        return await self._find(key)

    @bounded()
    async def change(self, record: TurnRecord) -> TurnRecord:
        record = storable_turn(record)
        try:
            version = await self._rows.put(turn_entity(record, self._clock()), record.version)
        except Conflict as conflict:
            found = await self._find(record.key)
            if found is None or replace(found, version=record.version) != record:
                raise Changed from conflict
            return found
        return replace(record, version=version)

    @bounded()
    async def end(self, record: TurnRecord, state: TurnState, messages: Sequence[StoredMessage]) -> None:
        now, key = self._clock(), record.key.conversation
        closed = replace(record, state=state, begun="", shown="")
        said = [("upsert", entity) for entity in message_entities(key, record.ticket, messages, now)]
        opened = {"PartitionKey": partition_of(key), "RowKey": open_row(record)}
        try:
            await self._rows.together(
                [update_if_same(turn_entity(closed, now), record.version), *said, ("delete", opened)]
            )
        except Conflict as conflict:
            found = await self._find(record.key)
            if found is None or (found.state, found.owner) != (state, record.owner):
                raise Changed from conflict

    @bounded()
    async def ahead(self, record: TurnRecord, *, since: float = 0.0) -> Ahead | None:
        first = next((turn for turn in await self._open_before(record) if turn["lease"] > since), None)
        return None if first is None else Ahead(int(first["ticket"]), first["lease"])

    @bounded()
    async def pass_by(self, record: TurnRecord, ahead: Ahead) -> None:
        for turn in await self._open_before(record):
            if (int(turn["ticket"]), turn["lease"]) == (ahead.ticket, ahead.lease_until):
                # Whoever was faster has taken it over, or has ended it.
                with suppress(Conflict):
                    passed = {name: value for name, value in turn.items() if name != "etag"} | {"lease": 0.0}
                    await self._rows.put(passed, turn["etag"])

    @bounded(_LONGEST_CLEANING)
    async def delete_before(self, moment: float) -> int:
        deleted = 0
        async for rows in self._rows.older(float(moment)):
            deleted += await self._delete_older(rows)
        return deleted

    @bounded()
    async def read(self, key: RecordKey) -> Record | None:
        entity = await self._rows.get(partition_of(key.conversation), record_row(key))
        return None if entity is None else record_of(key, entity)

    @bounded()
    async def write(self, record: Record) -> Record:
        record, write = replace(record, value=storable(record.value)), uuid.uuid4().hex
        try:
            version = await self._rows.put(record_entity(record, write, self._clock()), record.version)
        except Conflict as conflict:
            found = await self._rows.get(partition_of(record.key.conversation), record_row(record.key))
            if found is None or found["write"] != write:
                raise Changed from conflict
            return record_of(record.key, found)
        return replace(record, version=version)

    @bounded()
    async def ping(self) -> None:
        await self._rows.any()

    async def close(self) -> None:
        await self._table.close()
        if self._credential is not None:
            await self._credential.close()

    async def _of_thread(self, key: ConversationKey, first: str, last: str, *, limit: int) -> list[Entity]:
        return await self._rows.between(partition_of(key), row_of(key, first), row_of(key, AFTER[last]), limit=limit)

    async def _enter(self, turn: TurnRecord, head: Entity | None) -> TurnRecord | None:
        now = self._clock()
        # From the clock, so that tickets go on rising where an old head has been deleted.
        ticket = max(int(now * 1000), int(head["ticket"]) + 1 if head else 0)
        entered = replace(turn, ticket=ticket)
        fresh = head_entity(turn.key.conversation, ticket, now)
        try:
            versions = await self._rows.together(
                [
                    ("create", turn_entity(entered, now)),
                    ("create", open_entity(entered, now)),
                    update_if_same(fresh, head["etag"]) if head else ("create", fresh),
                ]
            )
        except Conflict:
            return None
        return replace(entered, version=versions[0])

    async def _find(self, key: TurnKey) -> TurnRecord | None:
        entity = await self._rows.get(partition_of(key.conversation), turn_row(key))
        return None if entity is None else turn_of(key, entity)

    async def _open_before(self, record: TurnRecord) -> list[Entity]:
        partition = partition_of(record.key.conversation)
        opened = await self._rows.between(partition, row_of(record.key.conversation, OPEN), open_row(record))
        turns = await asyncio.gather(*(self._rows.get(partition, row["turn"]) for row in opened))
        return [turn for turn in turns if turn is not None and turn["state"] == TurnState.STARTED]

    async def _delete_older(self, rows: Sequence[Entity]) -> int:
        """All of one conversation. An open turn that is still renewed keeps its row in the order."""
        old = {row["RowKey"] for row in rows}
        opened = [row for row in rows if is_kind(row, OPEN)]
        ended = [
            row
            for row in opened
            if row["turn"] in old or await self._rows.get(row["PartitionKey"], row["turn"]) is None
        ]
        # Before the turns: a row in the order without its turn would never be found again.
        await self._rows.delete(ended)
        others = [row for row in rows if not is_kind(row, OPEN)]
        deleted = await self._rows.delete(others, only_same=True)
        return sum(is_kind(row, MESSAGE, RECORD, LASTING, TURN) for row in deleted)
