"""A channel that keeps Teams' streaming rules and refuses what breaks them, for tests in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app.bot.connector.send_errors import (
    SendError,
    StoppedByUserError,
    StreamAlreadyEndedError,
    StreamContentRefusedError,
    StreamTimeLimitError,
    ThrottledError,
)

Json = dict[str, Any]


@dataclass
class Sent:
    """`at` is when it came, `answered` when the bot had its answer; in seconds of the loop."""

    at: float
    method: str
    activity: Json
    answered: float = 0.0

    @property
    def text(self) -> str:
        return str(self.activity.get("text", ""))

    @property
    def stream(self) -> Json | None:
        infos = [e for e in self.activity.get("entities", ()) if e["type"] == "streaminfo"]
        return infos[0] if infos else None

    @property
    def kind(self) -> str:
        if self.stream is not None:
            return str(self.stream["streamType"])
        return str(self.activity["type"]) if self.method == "POST" else "edit"


@dataclass
class FakeChannel:
    """`latency` in seconds; `faults` are raised by the coming sends, one each (None: no fault)."""

    latency: float = 0.05
    stream_lives: float = 120.0
    stop_at: float | None = None
    faults: list[SendError | None] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    _in_flight: int = 0
    _opened_at: float | None = None
    _streamed: str = ""
    _ended: bool = False

    @property
    def start(self) -> float:
        return self.sent[0].at

    @property
    def opened_at(self) -> float:
        """When the stream was opened."""
        return next(sent.at for sent in self.sent if sent.stream)

    def of_kind(self, *kinds: str) -> list[Sent]:
        return [sent for sent in self.sent if sent.kind in kinds]

    @property
    def visible(self) -> list[str]:
        """The texts of the messages a person sees in the end."""
        messages: dict[str, str] = {}
        for number, sent in enumerate(self.sent):
            if sent.method == "PUT":
                messages[sent.activity["id"]] = sent.text
            elif sent.kind == "final":
                messages[str(sent.stream["streamId"])] = sent.text  # type: ignore[index]
            elif sent.activity["type"] == "message":
                messages[f"m{number}"] = sent.text
        return list(messages.values())

    def gaps(self) -> Iterator[float]:
        """From the end of each request of the stream to the next."""
        streamed = [sent for sent in self.sent if sent.stream]
        return (later.at - earlier.answered for earlier, later in itertools.pairwise(streamed))

    async def post(self, activity: Json, *, retry: bool = True) -> str | None:
        return await self._take("POST", activity)

    async def update(self, activity_id: str, activity: Json, *, retry: bool = True) -> None:
        await self._take("PUT", {**activity, "id": activity_id})

    async def _take(self, method: str, activity: Json) -> str | None:
        now = asyncio.get_running_loop().time
        sent = Sent(now(), method, activity)
        assert self._in_flight == 0, "two sends were in flight at once"
        self._in_flight += 1
        try:
            await asyncio.sleep(self.latency)
            if self.faults and (fault := self.faults.pop(0)):
                raise fault
            result = self._stream(sent) if sent.stream and method == "POST" else f"m-{len(self.sent)}"
            sent.answered = now()
            self.sent.append(sent)
            return result
        finally:
            self._in_flight -= 1

    def _stream(self, sent: Sent) -> str | None:
        info = sent.stream
        assert info is not None
        if self.stop_at is not None and sent.at >= self.stop_at:
            raise StoppedByUserError("Content stream was canceled by user")
        if self._ended:
            raise StreamAlreadyEndedError("Content stream is not allowed on an already completed streamed message")
        last = max((s.answered for s in self.sent if s.stream), default=None)
        if last is not None and sent.at - last < 0.999:
            raise ThrottledError("API calls quota exceeded")
        if info["streamType"] == "final":
            assert "streamSequence" not in info, "the final message must not have a sequence number"
        elif info["streamSequence"] != len([s for s in self.sent if s.stream]) + 1:
            raise AssertionError(f"sequence number {info['streamSequence']} is out of order")
        if self._opened_at is None:
            assert "streamId" not in info
            self._opened_at = sent.at
            self._remember(sent)
            return "stream-1"
        assert info["streamId"] == "stream-1"
        if sent.at - self._opened_at > self.stream_lives:
            self._ended = True
            raise StreamTimeLimitError("Content stream finished due to exceeded streaming time.")
        if not sent.text.startswith(self._streamed):
            raise StreamContentRefusedError("Request streamed content should contain the previously streamed content")
        self._remember(sent)
        self._ended = info["streamType"] == "final"
        return None

    def _remember(self, sent: Sent) -> None:
        assert sent.text, "Start streaming activities should include text"
        if sent.kind == "streaming":
            self._streamed = sent.text
