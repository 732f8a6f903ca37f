"""Queues in a SQLite file, which keep what a storage account would: base64, but for messages of other programs."""

from __future__ import annotations

import sqlite3
import uuid
from typing import Any

from app.storage.queue import MESSAGE_LIFETIME_SECONDS, PopReceiptMismatchError, Receipt, ReceivedMessage, check_size
from app.storage.queue_encoding import encode_message, text_of
from app.storage.sqlite.sqlite_file import SqliteFile

_PUT = """
INSERT INTO queue_message (queue, id, content, pop_receipt, inserted_at, visible_at, expires_at, dequeue_count)
VALUES (?, ?, ?, ?, ?, ?, ?, 0)
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
RETURNING id, pop_receipt, inserted_at, content, dequeue_count
"""


class SqliteQueue:
    def __init__(self, file: SqliteFile, name: str) -> None:
        self._file = file
        self._name = name

    async def put(
        self, body: str, *, visibility_timeout: float, time_to_live_seconds: float = MESSAGE_LIFETIME_SECONDS
    ) -> Receipt:
        check_size(body)
        return await self._insert(encode_message(body), visibility_timeout, time_to_live_seconds)

    async def put_content(self, content: str, *, visibility_timeout: float) -> Receipt:
        return await self._insert(content, visibility_timeout, MESSAGE_LIFETIME_SECONDS)

    async def update_visibility(self, receipt: Receipt, *, visibility_timeout: float) -> Receipt:
        now, fresh = self._file.clock(), Receipt(receipt.message_id, uuid.uuid4().hex, receipt.inserted_at)
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
            ReceivedMessage(Receipt(message, pop_receipt, inserted_at), text_of(content), dequeue_count, content)
            for message, pop_receipt, inserted_at, content, dequeue_count in rows
        ]

    async def ping(self) -> None:
        await self._file.run_transaction(lambda connection: connection.execute(_ANY).fetchone())

    async def close(self) -> None:
        """Nothing: the file belongs to the store."""

    async def _insert(self, content: str, visibility_timeout: float, time_to_live_seconds: float) -> Receipt:
        now = self._file.clock()
        receipt = Receipt(uuid.uuid4().hex, uuid.uuid4().hex, now)
        row = (self._name, receipt.message_id, content, receipt.pop_receipt)
        times = (now, now + visibility_timeout, now + time_to_live_seconds)

        def run_transaction(connection: sqlite3.Connection) -> Receipt:
            connection.execute(_DELETE_EXPIRED, (now,))
            connection.execute(_PUT, (*row, *times))
            return receipt

        return await self._file.run_transaction(run_transaction)
