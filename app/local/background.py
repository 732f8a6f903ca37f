"""An event loop in a thread of its own, while the main thread waits for the keyboard and for signals."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import Any, TypeVar

_STOP_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
# Short, because Windows delivers Ctrl-C only between waits.
_STEP_SECONDS = 0.1
_Result = TypeVar("_Result")


class Interrupted(KeyboardInterrupt):
    """A signal came: Ctrl-C, SIGTERM, or SIGHUP when the terminal's window is closed."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number

    @property
    def by_key(self) -> bool:
        return self.exit_code == 128 + signal.SIGINT


def raise_at_signals() -> None:
    """From now on signals raise `Interrupted` in the main thread."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)


class Background:
    """An event loop in a thread of its own."""

    def __enter__(self) -> Background:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="background", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _wait(asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop), _CLOSE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    def run(
        self, work: Coroutine[Any, Any, _Result], at_interrupt: Callable[[], object] | None = None
    ) -> _Result | None:
        """A signal calls `at_interrupt` and gives `work` a few seconds to end by itself; None if it does not.

        Raises what `work` raises. Raises `Interrupted` where there is no `at_interrupt`, at the second signal, and at
        SIGTERM or SIGHUP, after which nothing is shown anyway.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            _wait(future)
        except Interrupted as interrupted:
            if at_interrupt is not None:
                self._loop.call_soon_threadsafe(at_interrupt)
                try:
                    _wait(future, _STOP_SECONDS)
                except Interrupted:
                    future.cancel()
                    raise
            if not future.done():
                future.cancel()
                if at_interrupt is not None and interrupted.by_key:
                    return None
            if at_interrupt is None or not interrupted.by_key:
                raise
        return future.result()


def _wait(future: concurrent.futures.Future[Any], seconds: float = float("inf")) -> None:
    while not future.done() and seconds > 0:
        concurrent.futures.wait([future], timeout=_STEP_SECONDS)
        seconds -= _STEP_SECONDS


async def _cancel_all() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
