"""Server-sent events, as far as model endpoints use them: the `data` of each event.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

MAX_EVENT_BYTES = 16 * 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# With what the first line of a stream can begin: a comment or a field.
FIELDS = (b":", b"data", b"event", b"id", b"retry")


class EventTooLargeError(Exception):
    """One event grew past `MAX_EVENT_BYTES`: this is not a model's stream."""


class SseDecoder:
    """Bytes in as the network cuts them, the data of every complete event out. Events without data do not come out."""

    def __init__(self) -> None:
        self._line_parts: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._after_carriage_return = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Raises EventTooLargeError."""
        complete: list[bytes] = []
        self._size += len(chunk)
        if self._after_carriage_return or b"\r" in chunk:
            chunk = self._with_line_feeds(chunk)
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines and self._line_parts:
            lines[0] = b"".join([*self._line_parts, lines[0]])
            self._line_parts = []
        for line in lines:
            self._take(line, complete)
        if rest:
            self._line_parts.append(rest)
        if complete:
            self._size = len(rest)
        elif self._size > MAX_EVENT_BYTES:
            raise EventTooLargeError
        return complete

    def flush(self) -> list[bytes]:
        """What an endpoint that ends without the last blank line left behind."""
        complete: list[bytes] = []
        self._take(b"".join(self._line_parts), complete)
        self._take(b"", complete)
        self._line_parts = []
        return complete

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        """A line ends with CR LF, with LF, or with CR alone; the two may come in different chunks."""
        if not chunk:
            return chunk
        payload = chunk.removeprefix(b"\n") if self._after_carriage_return else chunk
        self._after_carriage_return = chunk.endswith(b"\r")
        chunk = payload
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _take(self, line: bytes, complete: list[bytes]) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
        elif not line and self._data:
            data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            self._data = []
            if data and not data.isspace():
                complete.append(data)
