"""Queues in a SQLite file."""

from __future__ import annotations

import sqlite3
import uuid
from typing import Any

from app.storage.queue import MESSAGE_LIFETIME_SECONDS, PopReceiptMismatchError, Receipt, ReceivedMessage, check_size
from app.storage.sqlite.sqlite_file import SqliteFile

_PUT = """
INSERT INTO queue_message (queue, id, body, pop_receipt, visible_at, expires_at, dequeue_count)
VALUES (?, ?, ?, ?, ?, ?, 0)
"""
_UPDATE_VISIBILITY = """
UPDATE queue_message SET visible_at = ?, pop_receipt = ?
WHERE queue = ? AND id = ? AND pop_receipt = ? AND expires_at > ?
"""
_DELETE = "DELETE FROM queue_message WHERE queue = ? AND id = ? AND pop_receipt = ?"
_DELETE_EXPIRED = "DELETE FROM queue_message WHERE expires_at <= ?"
_ANY = "SELECT 1 FROM queue_message LIMIT 1"
_RECEIVE = """
UPDATE queue_message
SET visible_at = ?, pop_receipt = lower(hex(randomblob(16))), dequeue_count = dequeue_count + 1
WHERE queue = ? AND id IN (
  SELECT id FROM queue_message WHERE queue = ? AND visible_at <= ? AND expires_at > ? ORDER BY visible_at LIMIT ?
)
RETURNING id, pop_receipt, body, dequeue_count
"""


class SqliteQueue:
    def __init__(self, file: SqliteFile, name: str) -> None:
        self._file = file
        self._name = name

    async def put(self, body: str, *, visibility_timeout: float) -> Receipt:
        check_size(body)
        receipt = Receipt(uuid.uuid4().hex, uuid.uuid4().hex)
        now = self._file.clock()
        row = (
            self._name,
            receipt.message_id,
            body,
            receipt.pop_receipt,
            now + visibility_timeout,
            now + MESSAGE_LIFETIME_SECONDS,
        )

        def run_transaction(connection: sqlite3.Connection) -> Receipt:
            connection.execute(_DELETE_EXPIRED, (now,))
            connection.execute(_PUT, row)
            return receipt

        return await self._file.run_transaction(run_transaction)

    async def update_visibility(self, receipt: Receipt, *, visibility_timeout: float) -> Receipt:
        now, fresh = self._file.clock(), Receipt(receipt.message_id, uuid.uuid4().hex)
        arguments = (
            now + visibility_timeout,
            fresh.pop_receipt,
            self._name,
            receipt.message_id,
            receipt.pop_receipt,
            now,
        )
        if (
            await self._file.run_transaction(
                lambda connection: connection.execute(_UPDATE_VISIBILITY, arguments).rowcount
            )
            != 1
        ):
            raise PopReceiptMismatchError
        return fresh

    async def delete(self, receipt: Receipt) -> None:
        arguments = (self._name, receipt.message_id, receipt.pop_receipt)
        await self._file.run_transaction(lambda connection: connection.execute(_DELETE, arguments))

    async def receive(self, max_messages: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        now = self._file.clock()
        arguments = (now + visibility_timeout, self._name, self._name, now, now, max_messages)
        rows: list[tuple[Any, ...]] = await self._file.run_transaction(
            lambda connection: connection.execute(_RECEIVE, arguments).fetchall()
        )
        return [
            ReceivedMessage(Receipt(message, pop_receipt), body, dequeue_count)
            for message, pop_receipt, body, dequeue_count in rows
        ]

    async def ping(self) -> None:
        await self._file.run_transaction(lambda connection: connection.execute(_ANY).fetchone())

    async def close(self) -> None:
        """Nothing: the file belongs to the store."""
