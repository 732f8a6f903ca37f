"""An engine that is made in a thread at the first call, because its packages take long to import."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar, cast

from app.storage.storage_errors import StorageError


class Closable(Protocol):
    async def close(self) -> None: ...


_Engine = TypeVar("_Engine", bound=Closable)


def lazy(make: Callable[[], _Engine]) -> _Engine:
    """Something with the asynchronous methods of what `make` returns; each calls the engine's."""
    return cast(_Engine, LazyEngine(make))


class LazyEngine(Generic[_Engine]):
    """Makes the engine once, however many callers there are; a failure is tried again at the next call."""

    def __init__(self, make: Callable[[], _Engine]) -> None:
        self._make = make
        self._making: asyncio.Task[_Engine] | None = None
        self._closed = False

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, object]]:
        """A method of the engine's: this class has none of that name."""
        if method.startswith("_"):
            raise AttributeError(method)

        async def call(*arguments: object, **named: object) -> object:
            engine = await self.opened()
            forwarded: Callable[..., Awaitable[object]] = getattr(engine, method)
            return await forwarded(*arguments, **named)

        return call

    async def opened(self) -> _Engine:
        """Raises `StorageError`."""
        if self._closed:
            raise StorageError("storage has been closed")
        if self._making is None or _failed(self._making):
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        try:
            # A caller that is cancelled must not take the engine from the others.
            return await asyncio.shield(self._making)
        except Exception as error:
            raise StorageError(f"storage could not be opened ({type(error).__name__})") from error

    async def close(self) -> None:
        making, self._making, self._closed = self._making, None, True
        if making is not None:
            await asyncio.wait([making])
            if not _failed(making):
                await making.result().close()


def _failed(making: asyncio.Task[_Engine]) -> bool:
    return making.done() and (making.cancelled() or making.exception() is not None)
