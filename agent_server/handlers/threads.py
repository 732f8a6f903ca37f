"""Functions that block, in threads of their own: neither the event loop nor the end of the process waits for them.

A thread cannot be cancelled: a cancelled caller does not wait for it, and a generator is closed at its next yield.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")

_MAX_EVENTS_AHEAD = 32
"""How far a generator may run ahead of the client."""


async def run_in_thread(function: Callable[[], T]) -> T:
    """What it returns or raises. It sees the context variables of the caller."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()
    context = copy_context()

    def end(result: T | None, error: BaseException | None) -> None:
        if ended.done():
            return
        if error is None:
            ended.set_result(result)  # type: ignore[arg-type]
        else:
            ended.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = context.run(function)
        except BaseException as raised:
            error = RuntimeError("StopIteration was raised") if isinstance(raised, StopIteration) else raised
        # The loop may have closed meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(end, result, error)

    threading.Thread(target=run, name="handler", daemon=True).start()
    return await ended


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


async def iterate_in_thread(iterable: Iterable[T]) -> AsyncGenerator[T, None]:
    """All of it, from one thread. A generator is closed when this one is."""
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[T | _End] = asyncio.Queue()
    may_go_on = threading.Semaphore(_MAX_EVENTS_AHEAD)
    left = threading.Event()
    context = copy_context()

    def run() -> None:
        error: BaseException | None = None
        try:
            for item in iterable:
                loop.call_soon_threadsafe(items.put_nowait, item)
                may_go_on.acquire()
                if left.is_set():
                    break
        except BaseException as raised:
            error = raised
        finally:
            if (close := getattr(iterable, "close", None)) is not None:
                with suppress(Exception):
                    close()
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(items.put_nowait, _End(error))

    threading.Thread(target=context.run, args=(run,), name="handler", daemon=True).start()
    try:
        while not isinstance(item := await items.get(), _End):
            may_go_on.release()
            yield item
        if item.error is not None:
            raise item.error
    finally:
        left.set()
        may_go_on.release()
