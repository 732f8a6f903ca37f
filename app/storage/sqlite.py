"""Conversations and the ledger of turns in one SQLite file, for a laptop.

One thread owns the connection and each call is one visit to it: a visit costs more than the query.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.ledger import Begun, Changed, TurnKey, TurnRecord, TurnState
from app.storage.sqlite_schema import prepare

_Result = TypeVar("_Result")

_APPEND = """
INSERT INTO message (tenant, conversation, position, role, text, complete, written)
SELECT ?, ?, COALESCE(MAX(position), 0) + 1, ?, ?, ?, ? FROM message WHERE tenant = ? AND conversation = ?
"""
_RECENT = """
SELECT role, text, complete FROM message WHERE tenant = ? AND conversation = ? ORDER BY position DESC LIMIT ?
"""
_ANY = "SELECT 1 FROM message LIMIT 1"
_FORGET = "DELETE FROM message WHERE tenant = ? AND conversation = ?"
_BEGIN = """
INSERT INTO turn
  (tenant, conversation, activity, ticket, state, owner, lease_until, tries, begun, shown, version, written)
SELECT ?, ?, ?, COALESCE(MAX(ticket), 0) + 1, ?, ?, ?, ?, ?, ?, 1, ? FROM turn WHERE tenant = ? AND conversation = ?
"""
_FIND = """
SELECT ticket, state, owner, lease_until, tries, begun, shown, version FROM turn
WHERE tenant = ? AND conversation = ? AND activity = ?
"""
_CHANGE = """
UPDATE turn SET
  state = ?, owner = ?, lease_until = ?, tries = ?, begun = ?, shown = ?, version = version + 1, written = ?
WHERE tenant = ? AND conversation = ? AND activity = ? AND version = ?
"""
_WAITS = """
SELECT 1 FROM turn WHERE tenant = ? AND conversation = ? AND ticket < ? AND state = 'started' LIMIT 1
"""
_OLD = ("DELETE FROM message WHERE written < ?", "DELETE FROM turn WHERE written < ? AND state != 'started'")


class SqliteStore:
    """Opens `file` at first use, makes it and its folder where they are not. `clock` is in seconds since 1970."""

    def __init__(self, file: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="conversations")

    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        return await self._with_connection(lambda connection: _recent(connection, key, limit))

    async def append(self, key: ConversationKey, messages: Sequence[StoredMessage]) -> None:
        await self._with_connection(lambda connection: self._append(connection, key, messages))

    async def forget(self, key: ConversationKey) -> None:
        await self._with_connection(lambda connection: connection.execute(_FORGET, (key.tenant, key.conversation)))

    async def begin(self, turn: TurnRecord, *, remember: int) -> Begun | None:
        def visit(connection: sqlite3.Connection) -> Begun | None:
            key = turn.key.conversation
            lease = (turn.state, turn.owner, turn.lease_until, turn.tries, turn.begun, turn.shown, self._clock())
            try:
                connection.execute(_BEGIN, (*_row(turn.key), *lease, key.tenant, key.conversation))
            except sqlite3.IntegrityError:
                return None
            record = _find(connection, turn.key)
            assert record is not None
            return Begun(record, tuple(_recent(connection, key, remember)), _waits(connection, record))

        return await self._with_connection(visit)

    async def find(self, key: TurnKey) -> TurnRecord | None:
        return await self._with_connection(lambda connection: _find(connection, key))

    async def change(self, record: TurnRecord) -> TurnRecord:
        await self._with_connection(lambda connection: self._change(connection, record))
        return replace(record, version=str(int(record.version) + 1))

    async def end(self, record: TurnRecord, state: TurnState, messages: Sequence[StoredMessage]) -> None:
        def visit(connection: sqlite3.Connection) -> None:
            self._change(connection, replace(record, state=state, begun="", shown=""))
            self._append(connection, record.key.conversation, messages)

        await self._with_connection(visit)

    async def waits(self, record: TurnRecord) -> bool:
        return await self._with_connection(lambda connection: _waits(connection, record))

    async def delete_before(self, moment: float) -> int:
        return await self._with_connection(
            lambda connection: sum(connection.execute(statement, (moment,)).rowcount for statement in _OLD)
        )

    async def ping(self) -> None:
        await self._with_connection(lambda connection: connection.execute(_ANY).fetchone())

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown(wait=False)

    def _append(self, connection: sqlite3.Connection, key: ConversationKey, messages: Sequence[StoredMessage]) -> None:
        of_conversation, now = (key.tenant, key.conversation), self._clock()
        connection.executemany(
            _APPEND, [(*of_conversation, m.role, m.text, int(m.complete), now, *of_conversation) for m in messages]
        )

    def _change(self, connection: sqlite3.Connection, record: TurnRecord) -> None:
        fields = (record.state, record.owner, record.lease_until, record.tries, record.begun, record.shown)
        changed = connection.execute(_CHANGE, (*fields, self._clock(), *_row(record.key), int(record.version)))
        if changed.rowcount != 1:
            raise Changed

    async def _with_connection(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        def visit() -> _Result:
            # The connection as a context commits, or rolls back what failed.
            with self._connected() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, visit)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            # Each transaction begins by locking: what it reads is still so when it writes.
            connection = sqlite3.connect(self._file, timeout=10, check_same_thread=False, isolation_level="IMMEDIATE")
            try:
                prepare(connection, self._clock())
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _row(key: TurnKey) -> tuple[str, str, str]:
    return (key.conversation.tenant, key.conversation.conversation, key.activity)


def _recent(connection: sqlite3.Connection, key: ConversationKey, limit: int) -> list[StoredMessage]:
    rows = connection.execute(_RECENT, (key.tenant, key.conversation, limit)).fetchall()
    return [StoredMessage(role, text, bool(complete)) for role, text, complete in reversed(rows)]


def _find(connection: sqlite3.Connection, key: TurnKey) -> TurnRecord | None:
    row: tuple[Any, ...] | None = connection.execute(_FIND, _row(key)).fetchone()
    if row is None:
        return None
    ticket, state, owner, lease_until, tries, begun, shown, version = row
    return TurnRecord(key, ticket, TurnState(state), owner, lease_until, tries, begun, shown, str(version))


def _waits(connection: sqlite3.Connection, record: TurnRecord) -> bool:
    key = record.key.conversation
    return connection.execute(_WAITS, (key.tenant, key.conversation, record.ticket)).fetchone() is not None
