"""A chat as a person sees it, which several workers write into, by the rules of Teams' streams; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from app.bot.connector.send_errors import StreamAlreadyEndedError, StreamContentRefusedError, StreamTimeLimitError

Json = dict[str, Any]
_Result = TypeVar("_Result")


class Wire:
    """Between a worker and all that is outside of it. Cut, nothing passes any more, neither there nor back."""

    def __init__(self) -> None:
        self._joined = asyncio.Event()
        self._joined.set()

    def cut(self) -> None:
        self._joined.clear()

    def join(self) -> None:
        self._joined.set()

    async def carry(self, work: Callable[[], Awaitable[_Result]], latency: float = 0.02) -> _Result:
        await asyncio.sleep(latency)
        await self._joined.wait()
        result: _Result | Exception
        try:
            result = await work()
        except Exception as error:
            result = error
        await asyncio.sleep(latency)
        await self._joined.wait()
        if isinstance(result, Exception):
            raise result
        return result


@dataclass
class _Stream:
    opened_at: float
    text: str = ""
    updates: int = 0
    sequence: int = 0
    ended: bool = False


@dataclass
class Chat:
    """`messages` are what stands there in the end, by their ids; `streams` by theirs."""

    messages: dict[str, str] = field(default_factory=dict)
    streams: dict[str, _Stream] = field(default_factory=dict)
    beside: list[str] = field(default_factory=list)
    """Streams that were opened while another was open: Teams allows one a chat."""
    lives: float = 120.0
    refuses: Callable[[Json], Exception | None] = lambda _: None
    """What the channel answers instead of taking an activity."""

    def through(self, wire: Wire) -> _Outlet:
        return _Outlet(self, wire)

    @property
    def left_open(self) -> list[str]:
        """Texts of streams that nobody ended, though they were gone on with after they had been opened."""
        return [stream.text for stream in self.streams.values() if not stream.ended and stream.updates > 1]

    async def take(self, activity: Json) -> str | None:
        if (refusal := self.refuses(activity)) is not None:
            raise refusal
        infos = [entity for entity in activity.get("entities", ()) if entity.get("type") == "streaminfo"]
        if infos:
            return self._stream(activity, infos[0])
        if activity["type"] != "message":
            return None
        message_id = f"m{len(self.messages)}"
        self.messages[message_id] = activity["text"]
        return message_id

    async def edit(self, activity_id: str, activity: Json) -> None:
        self.messages[activity_id] = activity["text"]

    def _stream(self, activity: Json, info: Json) -> str | None:
        now = asyncio.get_running_loop().time()
        if "streamId" not in info:
            stream_id = f"s{len(self.streams)}"
            if any(not stream.ended and now - stream.opened_at <= self.lives for stream in self.streams.values()):
                self.beside.append(stream_id)
            self.streams[stream_id] = _Stream(now)
        else:
            stream_id = info["streamId"]
        stream = self.streams[stream_id]
        if stream.ended:
            raise StreamAlreadyEndedError("on an already completed streamed message")
        if now - stream.opened_at > self.lives:
            raise StreamTimeLimitError("exceeded streaming time")
        if not activity["text"].startswith(stream.text):
            raise StreamContentRefusedError("should contain the previously streamed content")
        if info["streamType"] == "final":
            stream.ended = True
            self.messages[stream_id] = activity["text"]
            return None
        assert info["streamSequence"] > stream.sequence, "a sequence number goes back"
        stream.sequence = info["streamSequence"]
        stream.updates += 1
        if info["streamType"] == "streaming":
            stream.text = activity["text"]
        return stream_id


class _Outlet:
    def __init__(self, chat: Chat, wire: Wire) -> None:
        self._chat = chat
        self._wire = wire

    async def post(self, activity: Json, *, retry: bool = True) -> str | None:
        return await self._wire.carry(lambda: self._chat.take(activity))

    async def update(self, activity_id: str, activity: Json, *, retry: bool = True) -> None:
        await self._wire.carry(lambda: self._chat.edit(activity_id, activity))


class Behind:
    """A store or a queue behind a wire."""

    def __init__(self, engine: object, wire: Wire) -> None:
        self._engine = engine
        self._wire = wire

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._engine, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            return await self._wire.carry(lambda: method(*arguments, **named), 0.005)

        return call


@asynccontextmanager
async def ends_with(*tasks: asyncio.Task[Any]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
