"""Reads the body of an answer as it arrives, within its time limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

from app.models.answer_stream import AnswerStream
from app.models.model import Source, TextDelta
from app.models.model_errors import ModelError, ModelTimeoutError
from app.models.openai_streams import body_of
from app.models.transport_errors import failure_of_exception

if TYPE_CHECKING:
    import httpx2

# Tokens that arrive within this time are read at once: a read costs more than a token, and 20 ms are not seen.
READ_INTERVAL_SECONDS = 0.02


class AnswerBody:
    """Ends with `[DONE]`, with the end of the body, or `wait_after_end_seconds` after the finish reason.

    `deadline` is a time of `clock`. The transport itself ends a wait for bytes after `silence_seconds`.
    """

    def __init__(
        self,
        response: httpx2.Response,
        answer: AnswerStream,
        *,
        deadline: float,
        clock: Callable[[], float],
        silence_seconds: float,
        wait_after_end_seconds: float,
    ) -> None:
        self.left_open = False
        self._response = response
        self._answer = answer
        self._deadline = deadline
        self._clock = clock
        self._silence_seconds = silence_seconds
        self._wait_after_end_seconds = wait_after_end_seconds
        self._ended_at: float | None = None

    async def events(self) -> AsyncGenerator[TextDelta | Source, None]:
        """Raises ModelError, after what had arrived."""
        answer = self._answer
        failure: ModelError | None = None
        async with aclosing(body_of(self._response)) as chunks:
            while not answer.over:
                try:
                    chunk = await self._next(chunks)
                except Exception as error:
                    failure = self._failure_of(error)
                    break
                if chunk is None:
                    break
                events = answer.feed(chunk)
                self._note_end(goes_on=bool(events))
                for event in events:
                    yield event
                if not answer.over:
                    await asyncio.sleep(READ_INTERVAL_SECONDS)
        for event in answer.flush():
            yield event
        if failure is not None and not answer.done_received:
            raise failure

    async def _next(self, chunks: AsyncGenerator[bytes, None]) -> bytes | None:
        left = self._deadline - self._clock()
        if self._ended_at is not None:
            left = min(left, self._wait_after_end_seconds - (_now() - self._ended_at))
        # The transport itself ends a longer silence, without a timer here for every token.
        if left > self._silence_seconds:
            return await anext(chunks, None)
        if left <= 0:
            raise TimeoutError
        async with asyncio.timeout(left):
            return await anext(chunks, None)

    def _note_end(self, *, goes_on: bool) -> None:
        if not self._answer.finished:
            self._ended_at = None
        elif self._ended_at is None or goes_on:
            self._ended_at = _now()

    def _failure_of(self, error: Exception) -> ModelError | None:
        """None where the answer is complete all the same."""
        failure = failure_of_exception(error, answer_began=True)
        if self._answer.ended and isinstance(failure, ModelTimeoutError):
            self.left_open = True
            return None
        return None if self._answer.finished else failure


def _now() -> float:
    return asyncio.get_running_loop().time()
