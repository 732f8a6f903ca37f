"""How many questions a minute a Genie space takes: a place in the queue for each, shared by all workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import ceil

from pydantic import TypeAdapter, ValidationError

from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError, StorageError
from app.tools.base import ToolContext
from app.translation import Sentence

_QUOTA = Collection("genie_quota", retention_days=1)
_TIMES = TypeAdapter(list[float])
_MINUTE_SECONDS = 60.0
_MAX_PLACES = 1_000
# What an answer takes, which the wait must leave room for.
_ANSWER_SECONDS = 45.0
_LOOKS_AGAIN_SECONDS = 5.0
_LEAVES_WITHIN_SECONDS = 1.0

WAITING = Sentence(
    "Genie takes {per_minute} questions a minute, and others come first: yours is asked in about {seconds} s…"
)


class QuotaExceededError(Exception):
    """`seconds` are until the next free place, for which the question has no time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s until the next free place")
        self.seconds = seconds


class QuestionQuota:
    """First come, first served; a scheduled question takes only a place for which nobody waits. Where storage fails,
    questions do not wait: Genie refuses what is too much.
    """

    def __init__(
        self,
        documents: DocumentStore,
        per_minute: int,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._documents = documents
        self._per_minute = per_minute
        self._sleep = sleep
        self._clock = clock

    async def wait(self, space: str, context: ToolContext) -> None:
        """Returns when the question may be asked. Raises `QuotaExceededError`."""
        with suppress(StorageError):
            if context.is_scheduled:
                await self._wait_for_nobody(space, context)
            else:
                await self._wait_in_line(space, context)

    async def fill(self, space: str, seconds: float) -> None:
        """Genie has refused a question: nothing more is asked for so long."""
        until = self._clock() + seconds - _MINUTE_SECONDS
        with suppress(StorageError):
            await self._change(space, lambda times: sorted([*times, *[until] * self._per_minute]))

    async def _wait_in_line(self, space: str, context: ToolContext) -> None:
        at = await self._take(space, context, only_now=False)
        assert at is not None
        try:
            if (seconds := at - self._clock()) > 0:
                self._say(seconds, context)
                await self._sleep(seconds)
        except asyncio.CancelledError:
            with suppress(StorageError, TimeoutError):
                async with asyncio.timeout(_LEAVES_WITHIN_SECONDS):
                    await self._change(space, lambda times: _without(times, at))
            raise

    async def _wait_for_nobody(self, space: str, context: ToolContext) -> None:
        while await self._take(space, context, only_now=True) is None:
            if context.seconds_left() < _ANSWER_SECONDS + _LOOKS_AGAIN_SECONDS:
                raise QuotaExceededError(_MINUTE_SECONDS)
            self._say(_LOOKS_AGAIN_SECONDS, context)
            await self._sleep(_LOOKS_AGAIN_SECONDS)

    async def _take(self, space: str, context: ToolContext, *, only_now: bool) -> float | None:
        """When the place is that was taken; None if `only_now` and it is not now."""
        taken: float | None = None

        def take(times: list[float]) -> list[float]:
            nonlocal taken
            taken, now = None, self._clock()
            free_at = times[-self._per_minute] + _MINUTE_SECONDS if len(times) >= self._per_minute else now
            if free_at > now:
                if only_now:
                    return times
                if free_at - now > context.seconds_left() - _ANSWER_SECONDS or len(times) >= _MAX_PLACES:
                    raise QuotaExceededError(free_at - now)
            taken = max(free_at, now)
            return [*times, taken]

        await self._change(space, take)
        return taken

    async def _change(self, space: str, change: Callable[[list[float]], list[float]]) -> None:
        """Times are sorted, and none is older than a minute."""
        key = DocumentKey(_QUOTA, "", space)
        while True:
            found = await self._documents.get(key)
            times = _times(found)
            kept = [each for each in times if each > self._clock() - _MINUTE_SECONDS]
            changed = change(kept)
            if changed == times:
                return
            with suppress(ConcurrentUpdateError):
                value = _TIMES.dump_json(changed).decode()
                await self._documents.put(Document(key, value, version=found.version if found else ""))
                return

    def _say(self, seconds: float, context: ToolContext) -> None:
        context.progress(context.translate(WAITING, per_minute=self._per_minute, seconds=ceil(seconds)))


def _times(document: Document | None) -> list[float]:
    try:
        return [] if document is None else _TIMES.validate_json(document.value)
    except ValidationError:
        return []


def _without(times: list[float], at: float) -> list[float]:
    left = list(times)
    with suppress(ValueError):
        left.remove(at)
    return left
