"""A reply that streams: one task sends whatever is newest, never faster than the channel allows, never two at once.

Until the model's first words it only shows that somebody is typing. A stream begins with these words, or after a second
of silence with the line that says what is being done.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from app.agent.events import Answer, Event, Failure, Status, Suspended, TextAdded, ToolStarted
from app.agent.user_messages import THINKING
from app.bot.channel import Channel, Streaming
from app.bot.connector.send_errors import ChannelUnreachableError, SendError, StoppedByUserError, ThrottledError
from app.bot.replies.activity_sender import ActivitySender
from app.bot.replies.message_reply import NO_CHECKPOINT
from app.bot.replies.stream import Stream
from app.bot.replies.stream_end import StreamEnd
from app.bot.replies.stream_pace import StreamPace
from app.bot.replies.stream_state import Phase, StreamState
from app.bot.replies.typing_indicator import TypingIndicator
from app.translation import ENGLISH, Sentence, Translator
from app.turns.checkpoint import Checkpoint
from app.turns.reply import CheckpointError, SaveCheckpoint, UndeliveredError, discard_checkpoint

_log = logging.getLogger(__name__)


class StreamReply:
    """Continues from `checkpoint`, which another worker may have left. `clock` is in seconds since 1970."""

    def __init__(
        self,
        sender: ActivitySender,
        channel: Channel,
        rules: Streaming,
        checkpoint: Checkpoint = NO_CHECKPOINT,
        *,
        translate: Translator = ENGLISH,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._translate = translate
        self._state = StreamState.of(checkpoint, channel)
        self._state.status = translate(THINKING)
        self._pace = StreamPace(rules)
        self._stream = Stream(sender, rules, self._state, self._pace, translate, clock)
        self._end = StreamEnd(sender, channel, rules, self._state, self._stream, self._pace, checkpoint, translate)
        self._typing = TypingIndicator(sender)
        self._sending: asyncio.Task[None] | None = None
        self._on_stop: Callable[[], object] | None = None

    @property
    def stopped(self) -> bool:
        return self._state.stopped

    @property
    def shown(self) -> str:
        return self._state.text.shown

    @property
    def activity_id(self) -> str | None:
        return self._end.activity_id or self._state.stream_id

    def when_stopped(self, stop: Callable[[], object]) -> None:
        self._on_stop = stop

    async def begin(self, save_checkpoint: SaveCheckpoint = discard_checkpoint, /) -> None:
        self._stream.begin(save_checkpoint)
        self._end.begin(save_checkpoint)
        if self._state.stream_id is None:
            self._typing.start()
        self._sending = asyncio.create_task(self._send_all())

    async def write(self, event: Event) -> None:
        state = self._state
        match event:
            case TextAdded(text, by_model):
                state.text.add(text)
                state.by_model |= by_model
            case Status(text):
                state.status = text
            case ToolStarted(name=name, title=title):
                using = self._translate(Sentence("Using {tool}…"), tool=name.replace("_", " "))
                state.status = title or using
            case Answer() | Failure() | Suspended():
                state.end = event
                self._pace.ended = True
                if not state.stopped:
                    self._end.save_early()
            case _:
                return
        self._pace.notify()

    async def finish(self) -> None:
        if self._sending is None:
            return
        try:
            await self._sending
        except (ChannelUnreachableError, ThrottledError) as failure:
            raise UndeliveredError(type(failure).__name__) from failure

    async def abandon(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
            if not self._sending.cancelled():
                # Retrieved, so that asyncio does not log it where nobody waited for the end.
                self._sending.exception()
        await self._end.abandon()
        await self._typing.stop()

    async def _send_all(self) -> None:
        try:
            while self._state.end is None:
                await self._send_next()
            await self._typing.stop()
            await self._end.deliver(self._state.end)
        except StoppedByUserError:
            self._state.stopped = True
            if self._on_stop is not None:
                self._on_stop()

    async def _send_next(self) -> None:
        """Waits until something may be sent, and sends it."""
        state = self._state
        if state.phase is not Phase.STREAMING:
            await self._show()
            await self._pace.wait_for_edit()
        elif state.stream_id is None:
            await self._pace.wait_for_start(lambda: bool(state.text.showable().strip()))
            await self._show()
        else:
            nothing_new = await self._pace.wait_for_update()
            if state.end is None and self._pace.seconds_left <= 0:
                await self._stream.close_early()
            else:
                await self._show(keep_alive=nothing_new)

    async def _show(self, *, keep_alive: bool = False) -> None:
        self._pace.clear()
        state = self._state
        if state.end is not None or state.phase is Phase.WAITING or (state.text.frozen and not keep_alive):
            return
        try:
            if state.phase is Phase.EDITING:
                await self._stream.edit(state.text.showable())
            else:
                await self._update(keep_alive=keep_alive)
        except StoppedByUserError:
            raise
        except CheckpointError:
            # Nothing was sent; tried again at the pace of the channel.
            self._pace.sent()
            self._pace.notify()
        except ThrottledError as throttled:
            await self._pace.back_off(throttled.retry_after_seconds, streaming=state.phase is Phase.STREAMING)
            self._pace.notify()
        except SendError as failure:
            _log.info("An update was not shown (%s)", type(failure).__name__)
            state.update_failed(failure)
            self._pace.notify()
        if state.stream_id is None and state.end is None:
            self._typing.start()

    async def _update(self, *, keep_alive: bool) -> None:
        state = self._state
        text, status = state.text.showable(), state.status
        if text.strip() and (keep_alive or text != state.text.shown):
            await self._typing.stop()
            await self._stream.show(text)
        elif not state.text.shown and (keep_alive or status != state.shown_status):
            await self._typing.stop()
            await self._stream.inform(status)
            state.shown_status = status
