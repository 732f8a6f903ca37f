"""Conversations and the ledger of turns in a SQLite file, for a laptop."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
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
from app.storage.sanitize_text import sanitize_messages, sanitize_turn
from app.storage.sqlite.sqlite_artifacts import SqliteArtifacts
from app.storage.sqlite.sqlite_documents import SqliteDocuments
from app.storage.sqlite.sqlite_file import SqliteFile
from app.storage.sqlite.sqlite_queue import SqliteQueue
from app.storage.storage_errors import ConcurrentUpdateError

_APPEND = """
INSERT INTO message
  (tenant, conversation, thread, position, role, text, complete, blocks, activity_id, caller, written_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_RECENT = """
SELECT role, text, complete, blocks, activity_id, caller FROM message
WHERE tenant = ? AND conversation = ? AND thread = ?
ORDER BY position DESC LIMIT ?
"""
_REMOVE_EXCHANGE = """
DELETE FROM message WHERE tenant = ? AND conversation = ? AND thread = ? AND position / 100 IN
  (SELECT position / 100 FROM message WHERE tenant = ? AND conversation = ? AND thread = ? AND activity_id = ?)
"""
# Below the 0 of skipped turns: all open turns count.
_ANY_LEASE = -1.0
_ANY = "SELECT 1 FROM message LIMIT 1"
_CLOSE_SUSPENDED = """
UPDATE turn SET state = 'failed', payload = '', checkpoint = '', version = version + 1
WHERE state = 'suspended' AND tenant = ? AND conversation = ?
"""
_FORGET = (
    f"{_CLOSE_SUSPENDED} AND thread = ?",
    "DELETE FROM message WHERE tenant = ? AND conversation = ? AND thread = ?",
    "DELETE FROM artifact WHERE tenant = ? AND conversation = ? AND thread = ?",
)
_FORGET_THREADS = (
    _CLOSE_SUSPENDED,
    "DELETE FROM message WHERE tenant = ? AND conversation = ?",
    "DELETE FROM artifact WHERE tenant = ? AND conversation = ?",
)
_LAST_STARTED = """
SELECT COALESCE(MAX(started_ticket), 0) FROM turn WHERE tenant = ? AND conversation = ? AND thread = ?
"""
_TICKETS_FROM = "SELECT ticket FROM turn WHERE tenant = ? AND conversation = ? AND thread = ? AND ticket >= ?"
_ENTER = """
INSERT INTO turn
  (tenant, conversation, thread, activity_id, ticket, state, owner, lease_until, attempt_count, payload, checkpoint,
   result, version, written_at, started_ticket)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
ON CONFLICT DO UPDATE SET
  ticket = excluded.ticket, state = excluded.state, owner = excluded.owner, lease_until = excluded.lease_until,
  attempt_count = excluded.attempt_count, payload = excluded.payload, checkpoint = excluded.checkpoint,
  result = excluded.result, version = excluded.version, written_at = excluded.written_at
"""
_START = """
UPDATE turn SET started_ticket = ticket WHERE tenant = ? AND conversation = ? AND thread = ? AND activity_id = ?
"""
# No other process writes between a transaction's reads and its writes.
_LOCK = "BEGIN IMMEDIATE"
_FIND = """
SELECT ticket, state, owner, lease_until, attempt_count, payload, checkpoint, result, version FROM turn
WHERE tenant = ? AND conversation = ? AND thread = ? AND activity_id = ?
"""
_CHANGE = """
UPDATE turn SET
  state = ?, owner = ?, lease_until = ?, attempt_count = ?, payload = ?, checkpoint = ?, result = ?,
  version = version + 1, written_at = ?
WHERE tenant = ? AND conversation = ? AND thread = ? AND activity_id = ? AND version = ?
"""
_PREDECESSOR = """
SELECT ticket, lease_until FROM turn
WHERE tenant = ? AND conversation = ? AND thread = ? AND ticket < ? AND state = 'started' AND lease_until > ?
ORDER BY ticket LIMIT 1
"""
_SKIP = """
UPDATE turn SET lease_until = 0, version = version + 1
WHERE tenant = ? AND conversation = ? AND thread = ? AND ticket = ? AND lease_until = ? AND state = 'started'
"""
_OLD = (
    "DELETE FROM message WHERE written_at < ?",
    "DELETE FROM turn WHERE written_at < ?",
    "DELETE FROM artifact WHERE written_at < ?",
)


class SqliteStore:
    """Opens the file at its first use, and creates it and its folder. `clock` is in seconds since 1970."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._file = SqliteFile(path, clock=clock)
        self._clock = clock

    def queue(self, name: str) -> SqliteQueue:
        """In the same file; it is closed with the store."""
        return SqliteQueue(self._file, name)

    def artifacts(self) -> SqliteArtifacts:
        """In the same file; they are closed with the store."""
        return SqliteArtifacts(self._file)

    def documents(self) -> SqliteDocuments:
        """In the same file; they are closed with the store."""
        return SqliteDocuments(self._file)

    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        return await self._file.run_transaction(lambda connection: _recent(connection, key, limit))

    async def remove_exchange(self, key: ConversationKey, activity_id: str) -> None:
        arguments = (*_columns_of(key), *_columns_of(key), activity_id)
        await self._file.run_transaction(lambda connection: connection.execute(_REMOVE_EXCHANGE, arguments))

    async def forget(self, key: ConversationKey, *, threads: bool = False) -> None:
        statements, arguments = (_FORGET_THREADS, _columns_of(key)[:2]) if threads else (_FORGET, _columns_of(key))

        def run_transaction(connection: sqlite3.Connection) -> None:
            for statement in statements:
                connection.execute(statement, arguments)

        await self._file.run_transaction(run_transaction)

    async def begin(self, turn: TurnRecord, *, history_limit: int, waits: bool = False) -> BeginResult | None:
        turn, began = sanitize_turn(turn), self._clock()

        def run_transaction(connection: sqlite3.Connection) -> BeginResult | None:
            connection.execute(_LOCK)
            found = _find(connection, turn.key)
            if (found.version if found else "") != turn.version and not entered_by(found, turn.owner):
                return None
            delayed = waits or self._clock() - began > MAX_ENTRY_SECONDS
            record = found if entered_by(found, turn.owner) else _enter(connection, turn, self._clock())
            has_predecessor = delayed or _start(connection, record, _ANY_LEASE) is not None
            return BeginResult(
                record, tuple(_recent(connection, turn.key.conversation, history_limit)), has_predecessor, delayed
            )

        return await self._file.run_transaction(run_transaction)

    async def find(self, key: TurnKey) -> TurnRecord | None:
        return await self._file.run_transaction(lambda connection: _find(connection, key))

    async def change(self, record: TurnRecord) -> TurnRecord:
        record = sanitize_turn(record)

        def run_transaction(connection: sqlite3.Connection) -> TurnRecord:
            if self._change(connection, record):
                return replace(record, version=str(int(record.version) + 1))
            found = _find(connection, record.key)
            if found is None or replace(found, version=record.version) != record:
                raise ConcurrentUpdateError
            # Written by an earlier try, for whose end the caller did not wait.
            return found

        return await self._file.run_transaction(run_transaction)

    async def end(
        self, record: TurnRecord, state: TurnState, messages: Sequence[StoredMessage], *, result: str = ""
    ) -> None:
        ended = sanitize_turn(record.ended(state, result))

        def run_transaction(connection: sqlite3.Connection) -> None:
            if self._change(connection, ended):
                self._append(connection, record.key.conversation, record.ticket * 100, messages)
                return
            found = _find(connection, record.key)
            if found is None or (found.state, found.owner) != (state, record.owner):
                raise ConcurrentUpdateError

        await self._file.run_transaction(run_transaction)

    async def start(self, record: TurnRecord, *, since: float = 0.0) -> Predecessor | None:
        def run_transaction(connection: sqlite3.Connection) -> Predecessor | None:
            connection.execute(_LOCK)
            return _start(connection, record, since)

        return await self._file.run_transaction(run_transaction)

    async def skip(self, record: TurnRecord, predecessor: Predecessor) -> None:
        arguments = (*_columns_of(record.key.conversation), predecessor.ticket, predecessor.lease_until)
        await self._file.run_transaction(lambda connection: connection.execute(_SKIP, arguments))

    async def delete_before(self, moment: float) -> int:
        return await self._file.run_transaction(
            lambda connection: sum(connection.execute(statement, (moment,)).rowcount for statement in _OLD)
        )

    async def ping(self) -> None:
        await self._file.run_transaction(lambda connection: connection.execute(_ANY).fetchone())

    async def close(self) -> None:
        await self._file.close()

    def _append(
        self, connection: sqlite3.Connection, key: ConversationKey, position: int, messages: Sequence[StoredMessage]
    ) -> None:
        columns, now = _columns_of(key), self._clock()
        rows = [
            (*columns, position + index, m.role, m.text, int(m.complete), m.blocks, m.activity_id, m.caller, now)
            for index, m in enumerate(sanitize_messages(messages))
        ]
        connection.executemany(_APPEND, rows)

    def _change(self, connection: sqlite3.Connection, record: TurnRecord) -> bool:
        where = (*_columns_of(record.key.conversation), record.key.activity_id, int(record.version))
        return connection.execute(_CHANGE, (*_fields(record), self._clock(), *where)).rowcount == 1


def _columns_of(key: ConversationKey) -> tuple[str, str, str]:
    return (key.tenant, key.conversation, key.thread)


def _recent(connection: sqlite3.Connection, key: ConversationKey, limit: int) -> list[StoredMessage]:
    rows = connection.execute(_RECENT, (*_columns_of(key), limit)).fetchall()
    return [StoredMessage(role, text, bool(complete), *others) for role, text, complete, *others in reversed(rows)]


def _find(connection: sqlite3.Connection, key: TurnKey) -> TurnRecord | None:
    row: tuple[Any, ...] | None = connection.execute(
        _FIND, (*_columns_of(key.conversation), key.activity_id)
    ).fetchone()
    if row is None:
        return None
    ticket, state, owner, lease_until, attempt_count, payload, checkpoint, result, version = row
    return TurnRecord(
        key, ticket, TurnState(state), owner, lease_until, attempt_count, payload, checkpoint, result, str(version)
    )


def _fields(turn: TurnRecord) -> tuple[str, str, float, int, str, str, str]:
    state, owner, lease_until, attempt_count = turn.state, turn.owner, turn.lease_until, turn.attempt_count
    return state, owner, lease_until, attempt_count, turn.payload, turn.checkpoint, turn.result


def _enter(connection: sqlite3.Connection, turn: TurnRecord, now: float) -> TurnRecord:
    columns = _columns_of(turn.key.conversation)
    (started,) = connection.execute(_LAST_STARTED, columns).fetchone()
    taken = {ticket for (ticket,) in connection.execute(_TICKETS_FROM, (*columns, turn.ticket))}
    ticket = next_ticket(turn.ticket, started=started, taken=taken)
    version = int(turn.version or 0) + 1
    connection.execute(_ENTER, (*columns, turn.key.activity_id, ticket, *_fields(turn), version, now))
    return replace(turn, ticket=ticket, version=str(version))


def _start(connection: sqlite3.Connection, record: TurnRecord, since: float) -> Predecessor | None:
    columns = _columns_of(record.key.conversation)
    row: tuple[int, float] | None = connection.execute(_PREDECESSOR, (*columns, record.ticket, since)).fetchone()
    if row is not None:
        return Predecessor(*row)
    connection.execute(_START, (*columns, record.key.activity_id))
    return None
