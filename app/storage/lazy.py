"""A store and a queue whose engine is made in a thread at the first call, because its packages take long to import."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.keyed_records import Record, RecordKey
from app.storage.ledger import BeginResult, Predecessor, Store, TurnKey, TurnRecord, TurnState
from app.storage.queue import MessageReceiver, Receipt, ReceivedMessage
from app.storage.storage_errors import StorageError

_Engine = TypeVar("_Engine")


class _Lazy(Generic[_Engine]):
    """Made once, however many ask at the same time; what failed is tried again at the next call."""

    def __init__(self, make: Callable[[], _Engine]) -> None:
        self._make = make
        self._making: asyncio.Task[_Engine] | None = None
        self._closed = False

    async def get(self) -> _Engine:
        if self._closed:
            raise StorageError("storage has been closed")
        if self._making is None or _failed(self._making):
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        try:
            # Who gives up must not take the engine from the others.
            return await asyncio.shield(self._making)
        except Exception as error:
            raise StorageError(f"storage could not be opened ({type(error).__name__})") from error

    async def close(self, close: Callable[[_Engine], Awaitable[None]]) -> None:
        making, self._making, self._closed = self._making, None, True
        if making is not None:
            await asyncio.wait([making])
            if not _failed(making):
                await close(making.result())


def _failed(making: asyncio.Task[_Engine]) -> bool:
    return making.done() and (making.cancelled() or making.exception() is not None)


class LazyStore:
    def __init__(self, make: Callable[[], Store]) -> None:
        self._engine = _Lazy(make)

    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        return await (await self._engine.get()).recent(key, limit)

    async def forget(self, key: ConversationKey, *, threads: bool = False) -> None:
        await (await self._engine.get()).forget(key, threads=threads)

    async def ping(self) -> None:
        await (await self._engine.get()).ping()

    async def begin(self, turn: TurnRecord, *, remember: int) -> BeginResult | None:
        return await (await self._engine.get()).begin(turn, remember=remember)

    async def find(self, key: TurnKey) -> TurnRecord | None:
        return await (await self._engine.get()).find(key)

    async def change(self, record: TurnRecord) -> TurnRecord:
        return await (await self._engine.get()).change(record)

    async def end(
        self, record: TurnRecord, state: TurnState, messages: Sequence[StoredMessage], *, result: str = ""
    ) -> None:
        await (await self._engine.get()).end(record, state, messages, result=result)

    async def start(self, record: TurnRecord, *, since: float = 0.0) -> Predecessor | None:
        return await (await self._engine.get()).start(record, since=since)

    async def skip(self, record: TurnRecord, ahead: Predecessor) -> None:
        await (await self._engine.get()).skip(record, ahead)

    async def delete_before(self, moment: float) -> int:
        return await (await self._engine.get()).delete_before(moment)

    async def read(self, key: RecordKey) -> Record | None:
        return await (await self._engine.get()).read(key)

    async def write(self, record: Record) -> Record:
        return await (await self._engine.get()).write(record)

    async def close(self) -> None:
        await self._engine.close(lambda store: store.close())


class LazyQueue:
    def __init__(self, make: Callable[[], MessageReceiver]) -> None:
        self._engine = _Lazy(make)

    async def put(self, body: str, *, visibility_timeout: float) -> Receipt:
        return await (await self._engine.get()).put(body, visibility_timeout=visibility_timeout)

    async def update_visibility(self, receipt: Receipt, *, visibility_timeout: float) -> Receipt:
        return await (await self._engine.get()).update_visibility(receipt, visibility_timeout=visibility_timeout)

    async def delete(self, receipt: Receipt) -> None:
        await (await self._engine.get()).delete(receipt)

    async def take(self, most: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        return await (await self._engine.get()).take(most, visibility_timeout=visibility_timeout)

    async def ping(self) -> None:
        await (await self._engine.get()).ping()

    async def close(self) -> None:
        await self._engine.close(lambda queue: queue.close())
