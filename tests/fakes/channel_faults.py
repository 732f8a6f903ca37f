"""Storage and a chat's channel that are away at times, each in its own way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from app.bot.connector.send_errors import DeliveryUnknownError, NotDeliveredError, SendError, ThrottledError
from app.bot.replies.parts_delivery import SENT_AGAIN
from app.storage.storage_errors import StorageError
from tests.fakes.chat import Chat, Wire
from tests.fakes.turn_harness import now

Json = dict[str, Any]


class Faults:
    """What storage and the channel do to whom when. `storage_away` and `channel_away` are spans of time."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.storage_away: list[tuple[float, float]] = []
        self.storage_hangs = False
        self.channel_away: list[tuple[float, float, str]] = []
        self.left = 3

    def storage_back(self) -> float | None:
        return next((end for start, end in self.storage_away if start <= now() < end), None)

    def of_channel(self) -> str:
        if not self.left or not any(start <= now() < end for start, end, _ in self.channel_away):
            return ""
        self.left -= 1
        return next(kind for start, end, kind in self.channel_away if start <= now() < end)


@dataclass
class FaultyChat(Chat):
    faults: Faults | None = None
    said_at: list[tuple[float, str]] = field(default_factory=list)
    ended_at: dict[str, float] = field(default_factory=dict)

    def through(self, wire: Wire) -> Any:
        return _FaultyOutlet(self, wire)

    async def take(self, activity: Json) -> str | None:
        taken = await super().take(activity)
        if SENT_AGAIN.english not in activity.get("text", ""):
            self.said_at.append((now(), activity.get("text", "")))
        for entity in activity.get("entities", ()):
            if entity.get("streamType") == "final":
                self.ended_at[entity["streamId"]] = now()
        return taken

    async def edit(self, activity_id: str, activity: Json) -> None:
        await super().edit(activity_id, activity)
        self.said_at.append((now(), activity["text"]))

    @property
    def open_together(self) -> list[tuple[str, str]]:
        """Pairs of streams that were open at once. Of one whose opening nobody has heard of nothing more came."""
        spans = {
            name: (stream.opened_at, self.ended_at.get(name, stream.opened_at + self.lives))
            for name, stream in self.streams.items()
            if stream.ended or stream.updates > 1
        }
        return [(a, b) for a in spans for b in spans if spans[a][0] < spans[b][0] < spans[a][1]]


class _FaultyOutlet:
    def __init__(self, chat: FaultyChat, wire: Wire) -> None:
        self._chat = chat
        self._wire = wire

    async def post(self, activity: Json, *, retry: bool = True) -> str | None:
        taken: str | None = await self._sent(lambda: self._chat.take(activity))
        return taken

    async def update(self, activity_id: str, activity: Json, *, retry: bool = True) -> None:
        await self._sent(lambda: self._chat.edit(activity_id, activity))

    async def _sent(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async def work_with_faults() -> Any:
            assert self._chat.faults is not None
            match self._chat.faults.of_channel():
                case "refused":
                    raise NotDeliveredError("away")
                case "throttled":
                    raise ThrottledError("slowly", 2.0)
                case "lost":
                    raise DeliveryUnknownError("no answer")
                case "answer lost":
                    with suppress(SendError):
                        await work()
                    raise DeliveryUnknownError("no answer")
            return await work()

        return await self._wire.carry(work_with_faults)


class FaultyStorage:
    """A store or a queue that is away at times."""

    def __init__(self, engine: object, faults: Faults) -> None:
        self._engine = engine
        self._faults = faults

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._engine, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            back, began = self._faults.storage_back(), now()
            if back is None:
                return await method(*arguments, **named)
            if not self._faults.storage_hangs:
                raise StorageError("ServerBusy")
            await asyncio.sleep(min(9.0, back - now() + self._faults.chance.random()))
            if self._faults.storage_back() is not None:
                raise StorageError("no answer")
            if name == "begin":
                # The engine itself sees that it takes long.
                engine: Any = self._engine
                clock, times = engine._clock, [began]
                engine._clock = lambda: times.pop() if times else clock()
                try:
                    return await method(*arguments, **named)
                finally:
                    engine._clock = clock
            return await method(*arguments, **named)

        return call
