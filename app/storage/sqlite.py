"""Conversations in one SQLite file, for a laptop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import aiosqlite

from app.storage.conversations import ConversationKey, StoredMessage

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
_FORGET = "DELETE FROM message WHERE tenant = ? AND conversation = ?"


class SqliteConversationLog:
    """Opens `file` at first use, and makes it and its folder if they are not there."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connection: aiosqlite.Connection | None = None
        self._one_at_a_time = asyncio.Lock()

    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        async with self._one_at_a_time:
            connection = await self._connected()
            rows = await connection.execute_fetchall(_RECENT, (key.tenant, key.conversation, limit))
        return [StoredMessage(role, text, bool(complete)) for role, text, complete in reversed(list(rows))]

    async def append(self, key: ConversationKey, messages: Sequence[StoredMessage]) -> None:
        of_conversation = (key.tenant, key.conversation)
        rows = [(*of_conversation, m.role, m.text, int(m.complete), *of_conversation) for m in messages]
        async with self._one_at_a_time:
            connection = await self._connected()
            try:
                await connection.executemany(_APPEND, rows)
                await connection.commit()
            except BaseException:
                await connection.rollback()
                raise

    async def forget(self, key: ConversationKey) -> None:
        async with self._one_at_a_time:
            connection = await self._connected()
            await connection.execute(_FORGET, (key.tenant, key.conversation))
            await connection.commit()

    async def close(self) -> None:
        async with self._one_at_a_time:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None

    async def _connected(self) -> aiosqlite.Connection:
        if self._connection is None:
            await asyncio.to_thread(self._file.parent.mkdir, parents=True, exist_ok=True)
            connection = await aiosqlite.connect(self._file, timeout=10)
            await connection.execute("PRAGMA journal_mode=WAL")
            await connection.execute("PRAGMA synchronous=NORMAL")
            await connection.execute(_SCHEMA)
            await connection.commit()
            self._connection = connection
        return self._connection
