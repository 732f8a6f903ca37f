"""One stream in the channel: opened, updated, closed, and its message edited where the channel can do that.

Protocol: https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from app.agent.events import Answer, Failure, without_interruption
from app.bot.channel import Streaming, WhenTimeRunsOut
from app.bot.connector.connector_replies import DeliveryUnknownError
from app.bot.connector.send_errors import SendError, StoppedByUserError, StreamAlreadyEndedError
from app.bot.rendering import activities
from app.bot.replies.activity_sender import ActivitySender
from app.bot.replies.message_reply import end_stream
from app.bot.replies.stream_pace import StreamPace
from app.bot.replies.stream_position import Phase, StreamPosition
from app.bot.replies.streamed_text import StreamedText
from app.translation import Sentence, Translator
from app.turns.checkpoint import Checkpoint
from app.turns.reply import CheckpointError, SaveCheckpoint, discard_checkpoint

_log = logging.getLogger(__name__)

_STILL_WORKING = Sentence("*This takes a while. I am still working on it…*")
_CONTINUES = Sentence("*(The answer continues in the next message.)*")


class Stream:
    """Goes on from `place`. `clock` is in seconds since 1970. Whatever is sent is kept before it is sent: every sending
    method raises the failures of `app.bot.connector.send_errors`, `CheckpointError` and `LeaseLostError`.
    """

    def __init__(
        self,
        sender: ActivitySender,
        rules: Streaming,
        text: StreamedText,
        reply_state: StreamPosition,
        pace: StreamPace,
        translate: Translator,
        clock: Callable[[], float],
    ) -> None:
        self._sender = sender
        self._rules = rules
        self._text = text
        self._pace = pace
        self._translate = translate
        self._clock = clock
        self._keep: SaveCheckpoint = discard_checkpoint
        self._closes = reply_state.closes
        self.id = reply_state.stream_id
        self.sequence = reply_state.sequence
        """The highest that may have been sent."""
        # Where another worker may have opened a stream and never learned its id, a second one would stand beside it.
        self.phase = Phase.WAITING if reply_state.stream_id is None and reply_state.sequence else reply_state.phase
        self.limit = reply_state.limit
        self.end: Answer | Failure | None = None
        self.by_model = bool(without_interruption(text.said).strip())
        """Whether it shows words of the model's, and not only a notice of ours."""
        self._closing = False

    def begin(self, keep: SaveCheckpoint) -> None:
        self._keep = keep
        if self.id is not None:
            self._pace.open(self._closes - self._clock())
            # Another worker may have sent just now.
            self._pace.sent()

    @property
    def takes_the_end(self) -> bool:
        """It, or its message. Not while it is being closed early: whoever found an end kept then, and the stream ended,
        would take it for said.
        """
        return self.phase is not Phase.WAITING and (self.id is not None or self.sequence > 0) and not self._closing

    async def note(self, *, coming: int = 0) -> None:
        """Keeps where the reply has come to, with so many updates `coming`."""
        text = self._text
        reply_state = StreamPosition(
            self.id, self.sequence + coming, self._closes, self.phase, text.settled, len(text.shown), self.limit
        )
        await self._keep(Checkpoint(text.attempted, reply_state.written(), self.end))

    async def show(self, text: str) -> None:
        if await self._may_go_out(text):
            await self._post(activities.streamed(self._text.rendered(text), self.sequence + 1, self.id))
            self._text.shown = text

    async def inform(self, status: str) -> None:
        if await self._may_go_out(self._text.attempted):
            await self._post(activities.informative(status, self.sequence + 1, self.id))

    async def _may_go_out(self, text: str) -> bool:
        if self.id is None:
            self._closes = self._clock() + self._rules.closes_after
        await self._note_attempt(text)
        if self.id is None:
            await self._pace.opening()
        # An answer that is whole by now needs no stream, nor is its end to wait for an update.
        return self.end is None

    async def _note_attempt(self, text: str) -> None:
        # Before it is kept: an end that is kept meanwhile has to know of it.
        before, self._text.attempted = self._text.attempted, text
        try:
            await self.note(coming=1)
        except CheckpointError:
            self._text.attempted = before
            raise

    async def _post(self, activity: activities.Json) -> None:
        opens = self.id is None
        if opens:
            self._pace.open(self._rules.closes_after)
        self.sequence += 1
        try:
            stream_id = await self._sender.post(activity, retry=False)
        except SendError as failure:
            if not isinstance(failure, DeliveryUnknownError):
                # Its number is still free.
                self.sequence -= 1
            raise
        finally:
            self._pace.sent()
        if opens:
            self.id = stream_id
            if stream_id is None:
                self.phase = Phase.WAITING
            else:
                with suppress(CheckpointError):
                    await self.note()

    def _unfinished(self, text: str, note: Sentence) -> activities.Json:
        activity = activities.message(activities.with_notes(self._text.rendered(text), self._translate(note)))
        return activities.labelled(activity, (), self._translate) if text and self.by_model else activity

    async def edit(self, text: str) -> None:
        if self.id is not None and text != self._text.shown:
            await self._note_attempt(text)
            await self._sender.update(self.id, self._unfinished(text, _STILL_WORKING), retry=False)
            self._text.shown = text

    async def close_early(self) -> None:
        """Closes it before the channel does, with what there is; the rest follows as the channel allows."""
        if self.id is None:
            self.phase = Phase.WAITING
            return
        text = self._text.streamed
        continues = bool(text) and self._rules.then is WhenTimeRunsOut.NEW_MESSAGE
        activity = self._unfinished(text, _CONTINUES if continues else _STILL_WORKING)
        self._closing = True
        with suppress(CheckpointError):
            # Whoever finds it closed is to know what stands in it.
            await self._note_attempt(text)
        try:
            await end_stream(self._sender, self.id, activity)
            self._text.shown = text
        except StoppedByUserError:
            raise
        except StreamAlreadyEndedError:
            self._text.was_closed()
        except SendError as failure:
            _log.info("A stream could not be closed (%s); the rest needs it no more", type(failure).__name__)
        self.is_over()
        self._closing = False
        with suppress(CheckpointError):
            await self.note()

    def is_over(self) -> None:
        edits = self._rules.then is WhenTimeRunsOut.EDIT_THE_MESSAGE and self.id is not None
        self.phase = Phase.EDITING if edits else Phase.WAITING
        if not edits:
            self._text.settle()
