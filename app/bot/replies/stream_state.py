"""What a streamed reply knows of itself, and every change of its phase. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError

from app.agent.events import End, without_interruption
from app.bot.channel import AfterClosing, Channel
from app.bot.connector.send_errors import (
    DeliveryUnknownError,
    MessageTooLargeError,
    SendError,
    SendRefusedError,
    StreamAlreadyEndedError,
    StreamContentRefusedError,
    StreamNotAllowedError,
    StreamTimeLimitError,
)
from app.bot.replies.parts_delivery import saved_end
from app.bot.replies.streamed_text import StreamedText
from app.turns.checkpoint import Checkpoint


class Phase(StrEnum):
    STREAMING = "streaming"
    """The stream is open, or not opened yet."""
    EDITING = "editing"
    """The stream is closed, and its message is edited."""
    WAITING = "waiting"
    """Nothing more is shown until the end, which comes as messages of its own."""


@dataclass(frozen=True, slots=True)
class _SavedState:
    stream_id: str | None = None
    sequence: int = 0
    closes_at: float = 0.0
    phase: Phase = Phase.STREAMING
    size_limit: int = 0
    settled: int = 0
    shown: int = 0


_SAVED = TypeAdapter(_SavedState)


@dataclass(slots=True)
class StreamState:
    """`checkpoint` saves the first fields; the others are of this worker alone.

    The phase is STREAMING at first and never again: `closed` leads to EDITING or WAITING, `wait_for_end` to WAITING.
    """

    text: StreamedText
    edits_when_closed: bool
    """Whether the channel lets a message be edited after its stream."""
    stream_id: str | None = None
    sequence: int = 0
    """The highest that may have been sent."""
    closes_at: float = 0.0
    """When the stream has to be closed, in seconds since 1970; 0 before it is opened."""
    phase: Phase = Phase.STREAMING
    size_limit: int = 0
    """What the channel took of this message, in UTF-16 code units, where that is less than its limit."""

    by_model: bool = False
    """Whether the text has words of the model's, and not only a notice of ours."""
    end: End | None = None
    status: str = ""
    shown_status: str = ""
    closing_early: bool = False
    stopped: bool = False

    @classmethod
    def of(cls, checkpoint: Checkpoint, channel: Channel) -> StreamState:
        """Continues from `checkpoint`; begins again if another kind of reply, or another version, wrote it."""
        try:
            saved = _SAVED.validate_python(checkpoint.reply_state)
        except ValidationError:
            saved = _SavedState()
        text = StreamedText(checkpoint.text, saved.shown, saved.settled, channel.text_limit_utf16, channel.image_hosts)
        edits = channel.streaming is not None and channel.streaming.after_closing is AfterClosing.EDIT
        state = cls(text, edits, saved.stream_id, saved.sequence, saved.closes_at, saved.phase, saved.size_limit)
        if saved.stream_id is None and saved.sequence:
            # Another worker may have opened a stream without learning its id: a second one would stand beside it.
            state.wait_for_end()
        state.by_model = bool(without_interruption(checkpoint.text).strip())
        return state

    def checkpoint(self, *, coming: int = 0) -> Checkpoint:
        """`coming` updates are about to be sent."""
        text = self.text
        saved = _SavedState(
            self.stream_id, self.sequence + coming, self.closes_at, self.phase, self.size_limit, text.settled,
            len(text.shown),
        )  # fmt: skip
        return Checkpoint(text.attempted, asdict(saved), saved_end(self.end))

    @property
    def takes_end(self) -> bool:
        """Whether the end goes into the stream, or into its message. Not while the stream is being closed early: a
        worker that found an end saved then, and the stream closed, would think that the end had been shown.
        """
        return (
            self.phase is not Phase.WAITING
            and (self.stream_id is not None or self.sequence > 0)
            and not self.closing_early
        )

    def opened(self, stream_id: str | None) -> None:
        """The channel took the first update; without an id no other can follow."""
        self.stream_id = stream_id
        if stream_id is None:
            self.wait_for_end()

    def closed(self) -> None:
        """The stream takes no more updates."""
        if self.edits_when_closed and self.stream_id is not None:
            self.phase = Phase.EDITING
        else:
            self.wait_for_end()
            self.text.settle()

    def closed_by_another_worker(self) -> None:
        self.text.shown_by_another_worker()
        self.closed()

    def wait_for_end(self) -> None:
        self.phase = Phase.WAITING

    def update_failed(self, failure: SendError) -> None:
        """Other failures change nothing: the next update has all of the text."""
        match failure:
            case StreamAlreadyEndedError():
                self.closed_by_another_worker()
            case StreamTimeLimitError():
                self.closed()
            case StreamNotAllowedError() | StreamContentRefusedError() | MessageTooLargeError() | SendRefusedError():
                self.text.frozen = True
                if self.stream_id is None:
                    self.wait_for_end()
            case DeliveryUnknownError() if self.stream_id is None:
                # The stream may be open: another update would open a second one.
                self.wait_for_end()

    def end_failed(self, failure: SendError) -> bool:
        """Whether the end can be delivered in another way than in the stream."""
        match failure:
            case StreamAlreadyEndedError():
                self.closed_by_another_worker()
            case StreamTimeLimitError():
                self.closed()
            case StreamNotAllowedError() | StreamContentRefusedError() | MessageTooLargeError() | SendRefusedError():
                self.wait_for_end()
            case _:
                return False
        return True
