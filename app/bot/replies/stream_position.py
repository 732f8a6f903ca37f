"""Where a streamed reply has come to, as another worker needs to know it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError


class Phase(StrEnum):
    STREAMING = "streaming"
    """The stream is open."""
    EDITING = "editing"
    """The stream is closed, its message is edited."""
    WAITING = "waiting"
    """Nothing more is shown until the end."""


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """`sequence` is the highest that may have been sent; `closes`, in seconds since 1970, when the stream has to be
    closed, 0 before it is open. The first `settled` characters of the text stand in a closed message, the first `shown`
    have certainly arrived.
    """

    stream_id: str | None = None
    sequence: int = 0
    closes: float = 0.0
    phase: Phase = Phase.STREAMING
    settled: int = 0
    shown: int = 0
    limit: int = 0

    @classmethod
    def read(cls, reply_state: dict[str, Any]) -> StreamPosition:
        try:
            return _ADAPTER.validate_python(reply_state)
        except ValidationError:
            # Of another kind of reply, or another version.
            return cls()

    def written(self) -> dict[str, Any]:
        return asdict(self)


_ADAPTER = TypeAdapter(StreamPosition)
