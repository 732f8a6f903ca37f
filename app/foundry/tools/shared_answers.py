"""Equal questions share one call, and for a short time its answer."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from app.common.cancellation import Cancellation, CancelReason
from app.common.concurrency import end_task
from app.foundry.tools.foundry_tool import ToolCallContext

_MAX_KEPT = 200
_MAX_KEPT_CHARACTERS = 4_000_000
_EARLY_SECONDS = 10.0

Work = Callable[[ToolCallContext], Coroutine[Any, Any, str]]


@dataclass(eq=False, slots=True)
class _SharedCall:
    task: asyncio.Task[str]
    cancellation: Cancellation
    deadline: float
    listeners: list[ToolCallContext] = field(default_factory=list)


class SharedAnswers:
    """For `seconds`, on the event loop's clock; with 0 nothing is shared. What failed is not kept."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[Hashable, _SharedCall] = {}
        # The oldest first, which is the order in which they expire.
        self._kept: OrderedDict[Hashable, tuple[float, str]] = OrderedDict()
        self._kept_characters = 0

    async def answer(self, key: Hashable, context: ToolCallContext, work: Work) -> str:
        """What `work` returns or raises, of this call or of another one with the same `key`. It gets the deadline of
        the call that came first, and is cancelled when no call waits for it any more. Where that deadline made it fail,
        a call that has longer begins it anew.
        """
        if self._seconds == 0:
            return await work(context)
        while True:
            self._forget_expired()
            if key in self._kept:
                return self._kept[key][1]
            call = self._running.get(key) or self._begin(key, context, work)
            call.listeners.append(context)
            try:
                return await asyncio.shield(call.task)
            except Exception:
                # Tools end a little before their deadline.
                ended_in_time = asyncio.get_running_loop().time() < call.deadline - _EARLY_SECONDS
                if ended_in_time or context.deadline <= call.deadline:
                    raise
            finally:
                call.listeners.remove(context)
                if not call.listeners and not call.task.done():
                    await self._end(key, call, context)

    def _begin(self, key: Hashable, context: ToolCallContext, work: Work) -> _SharedCall:
        cancellation = Cancellation()
        listeners: list[ToolCallContext] = []

        def progress(line: str) -> None:
            for each in listeners:
                each.progress(line)

        shared = replace(context, cancellation=cancellation, progress=progress)
        call = _SharedCall(asyncio.create_task(work(shared)), cancellation, context.deadline, listeners)
        self._running[key] = call
        call.task.add_done_callback(lambda task: self._ended(key, call, task))
        return call

    async def _end(self, key: Hashable, call: _SharedCall, context: ToolCallContext) -> None:
        # Nobody may join what is being cancelled.
        self._remove(key, call)
        reason = context.cancellation.reason if context.cancellation else None
        call.cancellation.cancel(reason or CancelReason.STOPPED)
        await end_task(call.task, "A tool of Foundry's agents")

    def _ended(self, key: Hashable, call: _SharedCall, task: asyncio.Task[str]) -> None:
        self._remove(key, call)
        if task.cancelled() or task.exception() is not None or key in self._kept:
            return
        text = task.result()
        self._kept[key] = (asyncio.get_running_loop().time() + self._seconds, text)
        self._kept_characters += len(text)
        while len(self._kept) > _MAX_KEPT or self._kept_characters > _MAX_KEPT_CHARACTERS:
            self._forget_oldest()

    def _remove(self, key: Hashable, call: _SharedCall) -> None:
        if self._running.get(key) is call:
            del self._running[key]

    def _forget_expired(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._kept and next(iter(self._kept.values()))[0] <= now:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        _, (_, text) = self._kept.popitem(last=False)
        self._kept_characters -= len(text)
