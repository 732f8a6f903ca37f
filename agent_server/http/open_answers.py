"""The answers that are being sent: how many there are, and their end when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from agent_server.protocol.api_error import ApiError


def restarting() -> ApiError:
    sentence = "This server is being restarted. Please ask again in a moment."
    return ApiError(503, sentence, type="server_error", code="server_restarting", retryable=True)


def took_too_long() -> ApiError:
    sentence = "The answer took longer than allowed. Please ask for less at once, or with background: true."
    return ApiError(504, sentence, type="server_error", code="time_limit")


class OpenAnswer:
    """`ended_by_shutdown` is set before the task is cancelled."""

    def __init__(self, task: asyncio.Task[object], *, is_kept: bool) -> None:
        self._task = task
        self.is_kept = is_kept
        self.ended_by_shutdown = False

    def end(self) -> None:
        self.ended_by_shutdown = True
        self._task.cancel()


class OpenAnswers:
    """`limit` is for those that are made while the client waits: how many kept ones are made is limited elsewhere, and
    to follow one costs little.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[OpenAnswer] = set()
        self._none_open = asyncio.Event()
        self._none_open.set()
        self.is_stopping = False

    def __len__(self) -> int:
        return len(self._open)

    def admit(self) -> None:
        """Raises `ApiError` where no further answer may begin now."""
        if self.is_stopping:
            raise restarting()
        if sum(not answer.is_kept for answer in self._open) >= self._limit:
            raise ApiError(
                429,
                f"This server makes {self._limit} answers at the same time at most. Please ask again in a moment.",
                type="rate_limit_error",
                code="rate_limit_exceeded",
                retryable=True,
            )

    @contextmanager
    def opened(self, *, is_kept: bool = False) -> Iterator[OpenAnswer]:
        """Around the making of an answer, or the following of a kept one, in the task that does it."""
        task = asyncio.current_task()
        assert task is not None
        answer = OpenAnswer(task, is_kept=is_kept)
        self._open.add(answer)
        self._none_open.clear()
        try:
            yield answer
        finally:
            self._open.discard(answer)
            if not self._open:
                self._none_open.set()

    async def stop(self, *, grace_seconds: float) -> None:
        """From now on nothing is admitted. Returns when all have ended, or their time is over."""
        self.is_stopping = True
        await self._wait_for_end(grace_seconds)

    async def end_all(self, *, grace_seconds: float) -> None:
        for answer in list(self._open):
            answer.end()
        await self._wait_for_end(grace_seconds)

    async def _wait_for_end(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._none_open.wait()
        except TimeoutError:
            pass
