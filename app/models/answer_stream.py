"""Turns the bytes of an answer into events. Raises nothing but ModelError, whatever the bytes are.

The format is recognised by the body, not by its content type: proxies send event streams as `text/plain` and
`application/json`.
"""

from __future__ import annotations

import json

from app.common.json_values import mapping
from app.common.log_text import quoted
from app.models.answer_reader import AnswerReader
from app.models.model import Completed, Source, TextDelta
from app.models.model_errors import ModelError, StreamInterruptedError, UnreadableAnswerError
from app.models.sse import BYTE_ORDER_MARK, FIELDS, MAX_EVENT_BYTES, EventTooLargeError, SseDecoder

MAX_STREAM_BYTES = 64 * 1024 * 1024
_DONE = b"[DONE]"
_TOO_LARGE = "the endpoint sent more than an answer can be"


class AnswerStream:
    def __init__(self, reader: AnswerReader) -> None:
        self._reader = reader
        self._decoder = SseDecoder()
        self._is_events = False
        self._whole: list[bytes] | None = None
        self._size = 0
        self._anything_read = False
        self._unreadable: bytes | None = None
        self.done_received = False
        self._failure: ModelError | None = None

    @property
    def over(self) -> bool:
        """Nothing that follows can change the answer."""
        return self.done_received or self._failure is not None

    @property
    def ended(self) -> bool:
        """The endpoint reported the end of the answer, and nothing has come after it."""
        return self._reader.ended

    @property
    def finished(self) -> bool:
        """Nothing more is expected: a break after this loses nothing."""
        return self._reader.ended and not self._reader.awaits_tools

    @property
    def continued_after_end(self) -> bool:
        """More came after the endpoint had reported the end of the answer."""
        return self._reader.continued_after_end

    def feed(self, chunk: bytes) -> list[TextDelta | Source]:
        """A failure among the bytes is raised by `end`, so that the events before it are not lost."""
        if not self._is_events:
            chunk = self._events_of(chunk)
        self._size += len(chunk)
        try:
            if self._size > MAX_STREAM_BYTES:
                raise EventTooLargeError
            return self._take(self._decoder.feed(chunk))
        except EventTooLargeError:
            self._failure = UnreadableAnswerError(_TOO_LARGE)
            return []

    def flush(self) -> list[TextDelta | Source]:
        """No more bytes will come."""
        if self._whole is not None and not self.over:
            self._take_whole(b"".join(self._whole))
        events = self._take(self._decoder.flush(), last=True)
        self._reader.buffer.flush()
        return events + self._reader.buffer.drain()

    def end(self) -> Completed:
        """Raises ModelError."""
        if self._failure is not None:
            raise self._failure
        try:
            return self._reader.end(done_received=self.done_received)
        except StreamInterruptedError:
            if self._unreadable is not None and not self._anything_read:
                raise _unreadable(self._unreadable) from None
            raise

    def _events_of(self, chunk: bytes) -> bytes:
        """The part that is an event stream. JSON is collected until it is complete; an HTML page is a failure."""
        if self._whole is not None:
            self._whole.append(chunk)
            if sum(map(len, self._whole)) > MAX_EVENT_BYTES:
                self._failure = UnreadableAnswerError(_TOO_LARGE)
            return b""
        chunk = chunk.removeprefix(BYTE_ORDER_MARK).lstrip()
        if not chunk:
            return b""
        if chunk.startswith((b"{", b"[")):
            self._whole = [chunk]
            return b""
        if chunk.startswith(b"<"):
            self._failure = UnreadableAnswerError("the endpoint answers with a page: is DATABRICKS_BASE_URL right?")
            self._failure.detail = quoted(chunk.decode(errors="replace"))
            return b""
        self._is_events = True
        if not any(chunk.startswith(field[: len(chunk)]) for field in FIELDS):
            self._unreadable = chunk
        return chunk

    def _take_whole(self, body: bytes) -> None:
        try:
            answer = json.loads(body)
            self._reader.read_whole(mapping(answer[0] if isinstance(answer, list) and len(answer) == 1 else answer))
            self.done_received = True
        except ModelError as failure:
            self._failure = failure
        except (ValueError, RecursionError):
            self._failure = _unreadable(body)

    def _take(self, events: list[bytes], *, last: bool = False) -> list[TextDelta | Source]:
        for data in events:
            if self.over:
                break
            if data[:1] != b"{" and data.strip() == _DONE:
                self.done_received = True
                self._reader.buffer.flush()
                break
            try:
                payload = json.loads(data.decode(errors="replace"))
                if isinstance(payload, dict):
                    self._anything_read = True
                    self._reader.read(payload)
                elif isinstance(payload, list):
                    for each in payload:
                        self._reader.read(mapping(each))
            except ModelError as failure:
                self._failure = failure
            except (ValueError, RecursionError):
                self._take_malformed(data, last=last)
        return self._reader.buffer.drain()

    def _take_malformed(self, data: bytes, *, last: bool) -> None:
        """Ignored after the end, and where it is a word: a proxy's heartbeat. Half an event at the end of the bytes
        means that the connection broke.
        """
        if self.finished:
            return
        if not data.lstrip().startswith((b"{", b"[")):
            self._unreadable = self._unreadable or data
        elif last:
            self._failure = StreamInterruptedError("the stream ended within an event")
        else:
            self._failure = _unreadable(data)


def _unreadable(data: bytes) -> UnreadableAnswerError:
    failure = UnreadableAnswerError("the endpoint sent something that is no answer of a model")
    failure.detail = quoted(repr(data[:80]))
    return failure
