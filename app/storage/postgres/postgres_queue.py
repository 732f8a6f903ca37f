"""Queues in a PostgreSQL database. Only this program writes to them, so what is stored is the text itself."""

from __future__ import annotations

import uuid

from app.storage.postgres.postgres_pool import PostgresPool
from app.storage.postgres.postgres_session import PostgresSession
from app.storage.queue import MESSAGE_LIFETIME_SECONDS, PopReceiptMismatchError, Receipt, ReceivedMessage, check_size

# What another call deletes or holds at this moment is left to it.
_PUT = """
WITH expired AS (
  DELETE FROM {schema}.queue_message WHERE (queue, id) IN (
    SELECT queue, id FROM {schema}.queue_message WHERE expires_at <= $5 LIMIT 100 FOR UPDATE SKIP LOCKED
  )
)
INSERT INTO {schema}.queue_message (queue, id, body, pop_receipt, inserted_at, visible_at, expires_at, dequeue_count)
VALUES ($1, $2, $3, $4, $5, $6, $7, 0)
ON CONFLICT (queue, id) DO NOTHING
"""
# A message with the new receipt was changed by an earlier try of the same call.
_UPDATE_VISIBILITY = """
UPDATE {schema}.queue_message SET visible_at = $1, pop_receipt = $2
WHERE queue = $3 AND id = $4 AND pop_receipt IN ($5, $2) AND expires_at > $6
"""
_DELETE = "DELETE FROM {schema}.queue_message WHERE queue = $1 AND id = $2 AND pop_receipt = $3"
_ANY = "SELECT 1 FROM {schema}.queue_message LIMIT 1"
# A message of an earlier version has no time of its own, and lived for a day.
_RECEIVE = """
UPDATE {schema}.queue_message SET visible_at = $1, pop_receipt = $2, dequeue_count = dequeue_count + 1
WHERE queue = $3 AND id IN (
  SELECT id FROM {schema}.queue_message WHERE queue = $3 AND visible_at <= $4 AND expires_at > $4
  ORDER BY visible_at LIMIT $5 FOR UPDATE SKIP LOCKED
)
RETURNING id, coalesce(inserted_at, expires_at - 86400), body, dequeue_count
"""
_RECEIVED = """
SELECT id, coalesce(inserted_at, expires_at - 86400), body, dequeue_count
FROM {schema}.queue_message WHERE queue = $1 AND pop_receipt = $2
"""


class PostgresQueue:
    def __init__(self, pool: PostgresPool, name: str) -> None:
        self._pool = pool
        self._name = name

    async def put(
        self, body: str, *, visibility_timeout: float, time_to_live_seconds: float = MESSAGE_LIFETIME_SECONDS
    ) -> Receipt:
        check_size(body)
        now = self._pool.clock()
        receipt = Receipt(uuid.uuid4().hex, uuid.uuid4().hex, now)
        row = (self._name, receipt.message_id, body.encode(), receipt.pop_receipt)
        times = (now, now + visibility_timeout, now + time_to_live_seconds)
        await self._pool.run(lambda session: session.execute(_PUT, *row, *times))
        return receipt

    async def put_content(self, content: str, *, visibility_timeout: float) -> Receipt:
        return await self.put(content, visibility_timeout=visibility_timeout)

    async def update_visibility(self, receipt: Receipt, *, visibility_timeout: float) -> Receipt:
        now, fresh = self._pool.clock(), Receipt(receipt.message_id, uuid.uuid4().hex, receipt.inserted_at)
        change = (now + visibility_timeout, fresh.pop_receipt)
        which = (self._name, receipt.message_id, receipt.pop_receipt, now)
        if await self._pool.run(lambda session: session.execute(_UPDATE_VISIBILITY, *change, *which)) != 1:
            raise PopReceiptMismatchError
        return fresh

    async def delete(self, receipt: Receipt) -> None:
        which = (self._name, receipt.message_id, receipt.pop_receipt)
        await self._pool.run(lambda session: session.execute(_DELETE, *which))

    async def receive(self, max_messages: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        now, pop_receipt, tries = self._pool.clock(), uuid.uuid4().hex, 0
        arguments = (now + visibility_timeout, pop_receipt, self._name, now, max_messages)

        async def work(session: PostgresSession) -> list[ReceivedMessage]:
            nonlocal tries
            tries += 1
            # An earlier try of this call may have received them.
            rows = await session.rows(_RECEIVED, self._name, pop_receipt) if tries > 1 else []
            rows = rows or await session.rows(_RECEIVE, *arguments)
            return [_received(Receipt(id, pop_receipt, at), body.decode(), count) for id, at, body, count in rows]

        return await self._pool.run(work)

    async def ping(self) -> None:
        await self._pool.run(lambda session: session.value(_ANY))

    async def close(self) -> None:
        """Nothing: the connections belong to the store."""


def _received(receipt: Receipt, body: str, dequeue_count: int) -> ReceivedMessage:
    return ReceivedMessage(receipt, body, dequeue_count, content=body)
