"""Conversations in one SQLite file, for a laptop.

One thread owns the connection and each call is one visit to it: a visit costs more than the query.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from app.storage.conversations import ConversationKey, StoredMessage

_Result = TypeVar("_Result")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS message (
  tenant TEXT NOT NULL,
  conversation TEXT NOT NULL,
  position INTEGER NOT NULL,
  role TEXT NOT NULL,
  text TEXT NOT NULL,
  complete INTEGER NOT NULL,
  PRIMARY KEY (tenant, conversation, position)
) WITHOUT ROWID
"""
_APPEND = """
INSERT INTO message (tenant, conversation, position, role, text, complete)
SELECT ?, ?, COALESCE(MAX(position), 0) + 1, ?, ?, ? FROM message WHERE tenant = ? AND conversation = ?
"""
_RECENT = """
SELECT role, text, complete FROM message WHERE tenant = ? AND conversation = ? ORDER BY position DESC LIMIT ?
"""
_ANY = "SELECT 1 FROM message LIMIT 1"
_FORGET = "DELETE FROM message WHERE tenant = ? AND conversation = ?"


class SqliteConversationLog:
    """Opens `file` at first use, and makes it and its folder if they are not there."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="conversations")

    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        query = (key.tenant, key.conversation, limit)
        rows = await self._with_connection(lambda connection: connection.execute(_RECENT, query).fetchall())
        return [StoredMessage(role, text, bool(complete)) for role, text, complete in reversed(rows)]

    async def append(self, key: ConversationKey, messages: Sequence[StoredMessage]) -> None:
        of_conversation = (key.tenant, key.conversation)
        rows = [(*of_conversation, m.role, m.text, int(m.complete), *of_conversation) for m in messages]
        await self._with_connection(lambda connection: connection.executemany(_APPEND, rows))

    async def forget(self, key: ConversationKey) -> None:
        await self._with_connection(lambda connection: connection.execute(_FORGET, (key.tenant, key.conversation)))

    async def ping(self) -> None:
        await self._with_connection(lambda connection: connection.execute(_ANY).fetchone())

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown(wait=False)

    async def _with_connection(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        def visit() -> _Result:
            # The connection as a context commits, or rolls back what failed.
            with self._connected() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, visit)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._file, timeout=10, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute(_SCHEMA)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
