"""An answer as server-sent events: `data:` lines and comments, nothing else, since OpenAI's clients fail on more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from agent_server.handlers.handler import JsonObject
from agent_server.http.error_answers import unexpected
from agent_server.http.json_encoding import json_bytes
from agent_server.http.open_answers import OpenAnswers, restarting, took_too_long
from agent_server.http.stream_ends import SentSoFar, no_end
from agent_server.protocol.api_error import ApiError
from app.common.concurrency import end_task

KEEP_ALIVE_SECONDS = 15.0
# A client that reads nothing must not occupy a place for ever.
_LAST_FRAMES_SECONDS = 10.0
_COMMENT = b": keep-alive\n\n"
_DONE = b"data: [DONE]\n\n"
_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


class CutError(Exception):
    """The frames ended before the answer did."""


StreamEnd = Callable[[ApiError, SentSoFar], list[JsonObject]]


class EventStream(Response):
    """Its headers leave at once, and frames that come together leave together. `frames` is closed when it ends, when
    the client leaves, when the server stops, or after `time_limit_seconds`; `end` makes the last frames of an answer
    that could not be completed.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        frames: AsyncGenerator[Sequence[JsonObject], None],
        answers: OpenAnswers,
        end: StreamEnd,
        *,
        time_limit_seconds: float | None = None,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        self.status_code = 200
        self.background = None
        self._frames = frames
        self._answers = answers
        self._end = end
        self._time_limit_seconds = time_limit_seconds
        self._keep_alive_seconds = keep_alive_seconds
        self._is_sending = False
        self._was_idle = True
        self.init_headers(_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(client_left(receive))
        try:
            while not writing.done():
                self._was_idle = True
                await asyncio.wait(
                    {writing, leaving}, timeout=self._keep_alive_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if leaving.done():
                    return
                if self._was_idle and not self._is_sending and not writing.done():
                    await send(_body(_COMMENT))
        finally:
            leaving.cancel()
            await end_task(writing, "A stream")
        writing.result()

    async def _write(self, send: Send) -> None:
        sent = SentSoFar()
        last: list[JsonObject] = []
        is_complete = True
        with self._answers.opened(is_kept=self._end is no_end) as answer:
            try:
                async with asyncio.timeout(self._time_limit_seconds) as limit, aclosing(self._frames) as batches:
                    async for frames in batches:
                        if limit.expired():
                            # A handler that ignores its cancellation is closed at its next word.
                            raise TimeoutError
                        await self._send(send, frames)
                        sent.add(frames)
            except TimeoutError:
                last, is_complete = self._end(took_too_long(), sent), False
            except asyncio.CancelledError:
                if not answer.ended_by_shutdown:
                    raise
                last, is_complete = self._end(restarting(), sent), False
            except CutError:
                is_complete = False
            except Exception as error:
                failure = error if isinstance(error, ApiError) else unexpected(error, "A stream")
                last, is_complete = self._end(failure, sent), False
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_FRAMES_SECONDS):
                    if last:
                        await self._send(send, last)
                    if is_complete or last:
                        await send(_body(_DONE))
                        await send({"type": "http.response.body", "body": b"", "more_body": False})
            # Otherwise the connection is closed within the body: a client that read its end would take it for all.

    async def _send(self, send: Send, frames: Sequence[JsonObject]) -> None:
        self._is_sending = True
        await send(_body(b"".join([b"data: " + json_bytes(frame) + b"\n\n" for frame in frames])))
        self._is_sending = self._was_idle = False


def _body(content: bytes) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": True}


async def client_left(receive: Receive) -> None:
    """Returns when the client has closed its connection. The request's body has been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


class ClientLeftError(Exception):
    """Nobody waits for the answer any more."""


async def until_client_leaves(receive: Receive, work: Coroutine[Any, Any, JsonObject]) -> JsonObject:
    """The result of `work`, which is cancelled when the client leaves. Raises `ClientLeftError` then."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(client_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeftError
        return working.result()
    finally:
        leaving.cancel()
        await end_task(working, "An answer")
