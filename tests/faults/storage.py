"""The storage that all workers share, as an onlooker sees it; and its stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables.aio import TableServiceClient
from azure.storage.queue.aio import QueueServiceClient
from pydantic import SecretStr

from app.bot.inbound.activity import parse_activity
from app.bot.inbound.conversation_key import conversation_of
from app.bot.inbound.inbound_question import turn_id_of
from app.storage.azure.azure_clients import open_container
from app.storage.azure.table_store import TableStore
from app.storage.factory import ARTIFACTS_CONTAINER
from app.storage.ledger import TurnKey, TurnRecord, TurnState
from app.storage.storage_account import StorageAccount
from app.storage.storage_errors import StorageError
from tests.faults.plan import Question

_TABLE = "conversations"
_QUEUE = "turns"
_POISON = "turns-poison"
_MORE_THAN_ANYBODY_ASKS = 200
_LOOKS_AT_A_TIME = 8
_BETWEEN_LOOKS = 1.0


class LedgerReader:
    """Reads what the workers have written, through the store's own protocol."""

    def __init__(self, connection_string: str) -> None:
        self._tables = TableServiceClient.from_connection_string(connection_string)
        self._queues = QueueServiceClient.from_connection_string(connection_string)
        self._artifacts = open_container(StorageAccount(SecretStr(connection_string)), ARTIFACTS_CONTAINER)
        self._store = TableStore(self._tables.get_table_client(_TABLE), self._artifacts)
        self.closed: dict[str, TurnRecord] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._queues.close()
        await self._tables.close()
        await self._artifacts.close()

    async def open_turns(self, questions: Iterable[Question]) -> list[TurnRecord]:
        """Those that have been entered and not closed; what is closed stays so, and is not looked at again.

        Raises `StorageError`.
        """
        found: list[TurnRecord] = []
        places = asyncio.Semaphore(_LOOKS_AT_A_TIME)

        async def look(question: Question) -> None:
            async with places:
                record = await self._store.find(key_of(question))
            if record is None:
                return
            if record.state is TurnState.STARTED:
                found.append(record)
            else:
                self.closed[question.id] = record

        await asyncio.gather(*(look(question) for question in questions if question.id not in self.closed))
        return found

    async def none_open(self, questions: Iterable[Question]) -> None:
        """Returns when no turn is open."""
        asked = list(questions)
        while True:
            with suppress(StorageError):
                if not await self.open_turns(asked):
                    return
            await asyncio.sleep(_BETWEEN_LOOKS)

    async def history(self, question: Question) -> list[tuple[str, str]]:
        """Of the conversation that the question belongs to: role and text, oldest first."""
        key = key_of(question).conversation
        return [(message.role, message.text) for message in await self._store.recent(key, _MORE_THAN_ANYBODY_ASKS)]

    async def queue_is_empty(self, within: float) -> bool:
        for _ in range(round(within / _BETWEEN_LOOKS)):
            if not await self.waiting():
                return True
            await asyncio.sleep(_BETWEEN_LOOKS)
        return False

    async def waiting(self) -> int:
        return await self._count(_QUEUE)

    async def visible(self) -> int:
        """A few at most."""
        return len(await self._queues.get_queue_client(_QUEUE).peek_messages(max_messages=32))

    async def poisoned(self) -> int:
        return await self._count(_POISON)

    async def _count(self, queue: str) -> int:
        """Those that are hidden included."""
        try:
            properties = await self._queues.get_queue_client(queue).get_queue_properties()
        except ResourceNotFoundError:
            return 0
        return properties.approximate_message_count or 0


def key_of(question: Question) -> TurnKey:
    activity = parse_activity(json.dumps(question.activity("http://127.0.0.1/")).encode())
    return TurnKey(conversation_of(activity), turn_id_of(activity))
