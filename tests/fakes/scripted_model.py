"""A model that answers as a test says, chunk by chunk, and records what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from typing import Any

from app.models.model import Completed, ModelEvent, ModelRequest, Source, TextDelta, ToolCall
from app.models.model_errors import ModelError

ScriptStep = str | Source | Completed | ToolCall | BaseException | asyncio.Event | Awaitable[Any]
"""Text to stream, a source, a tool call, the end, an exception to raise, or something to wait for.

A bare coroutine can be waited for once; an asyncio.Event or a Future serves replies that are given again.
"""

ScriptedReply = str | BaseException | Sequence[ScriptStep]


class ScriptedModel:
    """`replies` are given in turn, one for each request; the last is repeated when `repeat_last`.

    A reply without a Completed ends with one that holds its tool calls.
    """

    name = "scripted"

    def __init__(self, replies: Iterable[ScriptedReply] = (), *, repeat_last: bool = False) -> None:
        self.requests: list[ModelRequest] = []
        self.streams_closed_early = 0
        self._replies = list(replies)
        self._repeat_last = repeat_last

    def add(self, reply: ScriptedReply) -> None:
        self._replies.append(reply)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.requests.append(request)
        reply = self._next_reply()
        calls: list[ToolCall] = []
        ended = False
        try:
            for step in [reply] if isinstance(reply, str | BaseException) else reply:
                match step:
                    case str():
                        yield TextDelta(step)
                    case Source():
                        yield step
                    case Completed():
                        ended = True
                        yield step
                    case ToolCall():
                        calls.append(step)
                    case asyncio.Event():
                        await step.wait()
                    case BaseException():
                        raise step
                    case _:
                        await step
            if not ended:
                ended = True
                yield Completed(tuple(calls))
        except (GeneratorExit, asyncio.CancelledError):
            self.streams_closed_early += not ended
            raise

    async def close(self) -> None:
        pass

    def _next_reply(self) -> ScriptedReply:
        if not self._replies:
            raise ModelError("the script has no reply left")
        return self._replies[0] if self._repeat_last and len(self._replies) == 1 else self._replies.pop(0)
