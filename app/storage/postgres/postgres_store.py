"""Conversations and the ledger of turns in a PostgreSQL database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

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
from app.storage.postgres import postgres_statements as sql
from app.storage.postgres.postgres_artifacts import PostgresArtifacts
from app.storage.postgres.postgres_documents import PostgresDocuments
from app.storage.postgres.postgres_keys import conversation_columns, digest, lock_of
from app.storage.postgres.postgres_pool import CLEANING_SECONDS, PostgresPool
from app.storage.postgres.postgres_queue import PostgresQueue
from app.storage.postgres.postgres_session import PostgresSession
from app.storage.postgres_database import PostgresDatabase
from app.storage.sanitize_text import sanitize_messages, sanitize_turn
from app.storage.storage_errors import ConcurrentUpdateError

# The first call of a worker also gets a token and opens a connection.
_MAX_FIRST_ENTRY_SECONDS = 1.0
# Below the 0 of skipped turns: all open turns count.
_ANY_LEASE = -1.0


class PostgresStore:
    """Connects at its first use, and creates the tables. `clock` is in seconds since 1970."""

    def __init__(self, database: PostgresDatabase, *, clock: Callable[[], float] = time.time) -> None:
        self._pool = PostgresPool(database, clock=clock)
        self._clock = clock
        self._max_entry_seconds = _MAX_FIRST_ENTRY_SECONDS

    def queue(self, name: str) -> PostgresQueue:
        """Over the same connections; it is closed with the store."""
        return PostgresQueue(self._pool, name)

    def artifacts(self) -> PostgresArtifacts:
        """Over the same connections; they are closed with the store."""
        return PostgresArtifacts(self._pool)

    def documents(self) -> PostgresDocuments:
        """Over the same connections; they are closed with the store."""
        return PostgresDocuments(self._pool)

    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        return _messages(await self._pool.run(lambda session: session.rows(sql.RECENT, *_columns(key), limit)))

    async def remove_exchange(self, key: ConversationKey, activity_id: str) -> None:
        (wanted,) = sanitize_messages([StoredMessage("user", "", activity_id=activity_id)])
        arguments = (*_columns(key), wanted.activity_id)
        await self._pool.run(lambda session: session.execute(sql.REMOVE_EXCHANGE, *arguments))

    async def forget(self, key: ConversationKey, *, threads: bool = False) -> None:
        statements, arguments = (sql.FORGET_THREADS, _columns(key)[:1]) if threads else (sql.FORGET, _columns(key))

        async def work(session: PostgresSession) -> None:
            async with session.transaction():
                for statement in statements:
                    await session.execute(statement, *arguments)

        await self._pool.run(work)

    async def begin(self, turn: TurnRecord, *, history_limit: int, waits: bool = False) -> BeginResult | None:
        turn, began = sanitize_turn(turn), self._clock()

        async def work(session: PostgresSession) -> BeginResult | None:
            async with session.transaction(lock=lock_of(turn.key.conversation)):
                found = await _find(session, turn.key)
                if entered_by(found, turn.owner):
                    delayed = waits or self._took_long(began)
                    has_predecessor = delayed or await _start(session, found, _ANY_LEASE) is not None
                    rows = await session.rows(sql.RECENT, *_columns(turn.key.conversation), history_limit)
                    return BeginResult(found, tuple(_messages(rows)), has_predecessor, delayed)
                if (found.version if found else "") != turn.version:
                    return None
                return await self._enter(session, turn, waits or self._took_long(began), history_limit)

        result = await self._pool.run(work)
        self._max_entry_seconds = MAX_ENTRY_SECONDS
        return result

    async def find(self, key: TurnKey) -> TurnRecord | None:
        return await self._pool.run(lambda session: _find(session, key))

    async def change(self, record: TurnRecord) -> TurnRecord:
        record = sanitize_turn(record)

        async def work(session: PostgresSession) -> TurnRecord:
            if await session.execute(sql.CHANGE, *self._changed(record)):
                return replace(record, version=str(int(record.version) + 1))
            found = await _find(session, record.key)
            if found is None or replace(found, version=record.version) != record:
                raise ConcurrentUpdateError
            # Written by an earlier try of this call.
            return found

        return await self._pool.run(work)

    async def end(
        self, record: TurnRecord, state: TurnState, messages: Sequence[StoredMessage], *, result: str = ""
    ) -> None:
        ended, said = sanitize_turn(record.ended(state, result)), sanitize_messages(messages)

        async def work(session: PostgresSession) -> None:
            if await session.value(sql.END, *self._changed(ended), record.ticket * 100, *_arrays(said)):
                return
            found = await _find(session, record.key)
            if found is None or (found.state, found.owner) != (state, record.owner):
                raise ConcurrentUpdateError

        await self._pool.run(work)

    async def start(self, record: TurnRecord, *, since: float = 0.0) -> Predecessor | None:
        async def work(session: PostgresSession) -> Predecessor | None:
            async with session.transaction(lock=lock_of(record.key.conversation)):
                return await _start(session, record, since)

        return await self._pool.run(work)

    async def skip(self, record: TurnRecord, predecessor: Predecessor) -> None:
        arguments = (*_columns(record.key.conversation), predecessor.ticket, predecessor.lease_until)
        await self._pool.run(lambda session: session.execute(sql.SKIP, *arguments))

    async def delete_before(self, moment: float) -> int:
        async def work(session: PostgresSession) -> int:
            return sum([await session.execute(statement, moment) for statement in sql.OLD])

        return await self._pool.run(work, seconds=CLEANING_SECONDS)

    async def ping(self) -> None:
        await self._pool.run(lambda session: session.value(sql.ANY))

    async def close(self) -> None:
        await self._pool.close()

    async def _enter(
        self, session: PostgresSession, turn: TurnRecord, delayed: bool, history_limit: int
    ) -> BeginResult:
        columns = _turn_columns(turn.key)
        found = await session.row(sql.TICKETS, *columns[:2], turn.ticket, columns[2])
        assert found is not None
        started, taken, first_open = found
        ticket, version = next_ticket(turn.ticket, started=started, taken=set(taken)), int(turn.version or 0) + 1
        has_predecessor = delayed or (first_open is not None and first_open < ticket)
        row = (*columns, *_fields(turn), self._clock(), ticket, version, 0 if has_predecessor else ticket)
        history = _messages(await session.rows(sql.ENTER, *row, history_limit))
        return BeginResult(replace(turn, ticket=ticket, version=str(version)), tuple(history), has_predecessor, delayed)

    def _took_long(self, began: float) -> bool:
        return self._clock() - began > self._max_entry_seconds

    def _changed(self, record: TurnRecord) -> tuple[object, ...]:
        return (*_turn_columns(record.key), *_fields(record), self._clock(), int(record.version))


_columns = conversation_columns


def _turn_columns(key: TurnKey) -> tuple[bytes, bytes, bytes]:
    return (*_columns(key.conversation), digest(key.activity_id))


def _fields(turn: TurnRecord) -> tuple[str, str, float, int, str, str, str]:
    state, owner, lease_until, attempt_count = turn.state, turn.owner, turn.lease_until, turn.attempt_count
    return state, owner, lease_until, attempt_count, turn.payload, turn.checkpoint, turn.result


def _messages(rows: Sequence[Sequence[Any]]) -> list[StoredMessage]:
    return [StoredMessage(*row) for row in reversed(rows)]


def _arrays(messages: Iterable[StoredMessage]) -> list[list[object]]:
    """One for each column."""
    rows = [(m.role, m.text, m.complete, m.blocks, m.activity_id, m.caller) for m in messages]
    return [[row[column] for row in rows] for column in range(6)]


async def _find(session: PostgresSession, key: TurnKey) -> TurnRecord | None:
    row = await session.row(sql.FIND, *_turn_columns(key))
    if row is None:
        return None
    ticket, state, owner, lease_until, attempt_count, payload, checkpoint, result, version = row
    return TurnRecord(
        key, ticket, TurnState(state), owner, lease_until, attempt_count, payload, checkpoint, result, str(version)
    )


async def _start(session: PostgresSession, record: TurnRecord, since: float) -> Predecessor | None:
    row = await session.row(sql.START, *_turn_columns(record.key), record.ticket, since)
    return None if row is None else Predecessor(*row)
