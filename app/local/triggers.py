"""Queue and timer triggers: one listener for each."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Protocol

from app.local.host_json import QueueOptions
from app.local.indexing import FunctionApp, QueueFunction
from app.local.queue_trigger import QueueListener, poison_queue
from app.local.timer_trigger import TimerListener
from app.storage.queue import MessageReceiver

_CANCEL_SECONDS = 4.0
_CLOSE_SECONDS = 2.0


log = logging.getLogger(__name__)


class QueueSource(Protocol):
    def open(self, queue: str, connection: str) -> MessageReceiver:
        """`connection` is the name, or the prefix, of the settings that say where the queue is."""
        ...

    async def close(self) -> None: ...


class Listener(Protocol):
    async def run(self) -> None: ...
    def stop(self) -> None: ...


class Triggers:
    def __init__(self, functions: FunctionApp, options: QueueOptions, source: QueueSource, data: Path) -> None:
        self._functions = functions
        self._options = options
        self._source = source
        self._data = data
        self._receivers: list[MessageReceiver] = []
        self._listeners: dict[asyncio.Task[None], Listener] = {}

    def start(self) -> None:
        listeners: list[Listener] = [self._queue_listener(function) for function in self._functions.queues]
        for timer in self._functions.timers:
            listeners.append(TimerListener(timer, self._data / "timers" / f"{timer.name}.json"))
        for listener in listeners:
            self._listeners[asyncio.create_task(listener.run())] = listener

    def stop(self) -> None:
        """From now on nothing is started."""
        for listener in self._listeners.values():
            listener.stop()

    async def end(self, seconds: float) -> None:
        """Stops; running functions have that long to end by themselves, then they are cancelled."""
        self.stop()
        if self._listeners:
            _, running = await asyncio.wait(self._listeners, timeout=seconds)
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running, timeout=_CANCEL_SECONDS)
        remotes: list[MessageReceiver | QueueSource] = [*self._receivers, self._source]
        for remote in remotes:
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await remote.close()
            except Exception:
                log.exception("a queue did not close cleanly")

    def _queue_listener(self, function: QueueFunction) -> QueueListener:
        receiver = self._open(function.queue, function.connection)
        is_poison = function.queue.endswith(poison_queue(""))
        poison = None if is_poison else self._open(poison_queue(function.queue), function.connection)
        return QueueListener(function, receiver, poison, self._options, lock_seconds=self._options.lock_seconds)

    def _open(self, queue: str, connection: str) -> MessageReceiver:
        receiver = self._source.open(queue, connection)
        self._receivers.append(receiver)
        return receiver
