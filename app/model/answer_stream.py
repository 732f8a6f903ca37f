"""Bytes of an event stream in, events out; whatever the bytes are, only a ModelFailure comes of it."""

from __future__ import annotations

import json

from app.model.answer import AnswerReader
from app.model.errors import quoted
from app.model.failures import ModelFailure, StreamCut
from app.model.sse import EventTooLarge, SseDecoder
from app.model.types import Completed, Source, TextDelta

_DONE = b"[DONE]"


class AnswerStream:
    def __init__(self, reader: AnswerReader) -> None:
        self._reader = reader
        self._decoder = SseDecoder()
        self._said_done = False
        self._failure: ModelFailure | None = None

    @property
    def over(self) -> bool:
        """Nothing that follows can change the answer."""
        return self._said_done or self._failure is not None

    @property
    def finished(self) -> bool:
        """The endpoint said how the answer ends: a break after this loses nothing."""
        return self._reader.finished

    def feed(self, chunk: bytes) -> list[TextDelta | Source]:
        """A failure among the bytes is kept for `end`, so that what came before it is not lost."""
        try:
            return self._take(self._decoder.feed(chunk))
        except EventTooLarge:
            self._failure = StreamCut("the endpoint sent an event that is too large to be a model's")
            return []

    def flush(self) -> list[TextDelta | Source]:
        """No more bytes will come."""
        return self._take(self._decoder.flush())

    def end(self) -> Completed:
        """Raises ModelFailure."""
        if self._failure is not None:
            raise self._failure
        return self._reader.end(said_done=self._said_done)

    def _take(self, events: list[bytes]) -> list[TextDelta | Source]:
        for data in events:
            if self.over:
                break
            if data == _DONE:
                self._said_done = True
                break
            try:
                payload = json.loads(data)
                if isinstance(payload, dict):
                    self._reader.read(payload)
            except ModelFailure as failure:
                self._failure = failure
            except (ValueError, RecursionError):
                self._failure = StreamCut("the endpoint sent an event that is not JSON")
                self._failure.detail = quoted(repr(data[:80]))
        return self._reader.arrived.drain()
