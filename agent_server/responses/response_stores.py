"""Where responses are kept, and what ends one in its log."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from agent_server.handlers.handler import JsonObject
from agent_server.protocol.response_assembler import ResponseAssembler
from agent_server.responses.conversation_records import ConversationRecords
from agent_server.responses.event_log import BatchTakenError, EventLog, LogKey, ResponseEvents
from agent_server.responses.response_records import ResponseRecord, ResponseRecords
from app.storage.conversations import ConversationKey
from app.storage.ledger import ConversationStore
from app.storage.storage_errors import ConcurrentUpdateError, StorageError

_MAX_TRIES = 20


@dataclass(frozen=True, slots=True)
class ResponseStores:
    """Every method raises `StorageError`."""

    store: ConversationStore
    records: ResponseRecords
    conversations: ConversationRecords
    log: EventLog

    async def response(self, tenant: str, record: ResponseRecord) -> ResponseAssembler:
        """What has been said so far."""
        batches = await self.log.read_all(log_key(tenant, record))
        return ResponseAssembler.resumed([event for batch in batches for event in batch])

    async def end(
        self, tenant: str, record: ResponseRecord, last: Callable[[ResponseAssembler], ResponseEvents]
    ) -> JsonObject:
        """Appends the `last` events, unless the response has ended already. The Response object at its end."""
        key = log_key(tenant, record)
        for _ in range(_MAX_TRIES):
            batches = await self.log.read_all(key)
            assembler = ResponseAssembler.resumed([event for batch in batches for event in batch])
            if not assembler.has_ended:
                try:
                    await self.log.append(key, len(batches), last(assembler))
                except BatchTakenError:
                    # Its worker has written meanwhile.
                    continue
            await self.mark_ended(tenant, record)
            return assembler.response
        raise StorageError("the log of a response was written by others each time")

    async def append(self, tenant: str, record: ResponseRecord, events: ResponseEvents) -> None:
        """As the next batch, unless another one was written meanwhile."""
        key = log_key(tenant, record)
        batches = await self.log.read_all(key)
        with suppress(BatchTakenError):
            await self.log.append(key, len(batches), events)

    async def mark_ended(self, tenant: str, record: ResponseRecord) -> None:
        """In its conversation; what remains marked is found ended by whoever looks."""
        with suppress(StorageError, ConcurrentUpdateError):
            await self.conversations.ended(tenant, record.conversation, record.id)

    async def delete(self, tenant: str, record: ResponseRecord) -> None:
        await self.log.delete(log_key(tenant, record))
        await self.store.remove_exchange(ConversationKey(tenant, record.conversation), record.id)
        await self.records.delete(tenant, record)


def log_key(tenant: str, record: ResponseRecord) -> LogKey:
    return LogKey(tenant, record.conversation, record.id)
