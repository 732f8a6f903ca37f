"""A reply that streams: one task sends whatever is newest, never faster than the channel allows, never two at once.

Until there are first words it only shows that somebody is typing; a stream begins with them, or after a second of
silence with the line that says what is being done.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from app.agent.events import Answer, Event, Failure, Status, TextAdded, ToolStarted
from app.agent.user_messages import THINKING
from app.bot.channel import Channel, Streaming
from app.bot.connector.connector_replies import DeliveryUnknownError
from app.bot.connector.send_errors import (
    ChannelUnreachableError,
    MessageTooLargeError,
    SendError,
    SendRefusedError,
    StoppedByUserError,
    StreamAlreadyEndedError,
    StreamContentRefusedError,
    StreamNotAllowedError,
    StreamTimeLimitError,
    ThrottledError,
)
from app.bot.replies.activity_sender import ActivitySender
from app.bot.replies.message_reply import NO_CHECKPOINT, Parts, unsent_parts_of
from app.bot.replies.stream import Stream
from app.bot.replies.stream_end import StreamEnd
from app.bot.replies.stream_pace import StreamPace
from app.bot.replies.stream_position import Phase, StreamPosition
from app.bot.replies.streamed_text import StreamedText
from app.bot.replies.typing_indicator import TypingIndicator
from app.translation import ENGLISH, Sentence, Translator
from app.turns.checkpoint import Checkpoint
from app.turns.reply import CheckpointError, SaveCheckpoint, UndeliveredError, discard_checkpoint

_log = logging.getLogger(__name__)

# Seconds that an end waits for its sending, beyond the pace, where nothing but this process stands still.
_STOOD_STILL = 1.0


class StreamReply:
    """Goes on from `progress`, which another worker may have left. `clock` is in seconds since 1970."""

    def __init__(
        self,
        sender: ActivitySender,
        channel: Channel,
        streaming: Streaming,
        progress: Checkpoint = NO_CHECKPOINT,
        *,
        translate: Translator = ENGLISH,
        clock: Callable[[], float] = time.time,
    ) -> None:
        reply_state = StreamPosition.read(progress.reply_state)
        self._sender = sender
        self._channel = channel
        self._translate = translate
        self._pace = StreamPace(streaming)
        self._text = StreamedText(progress.text, reply_state, channel.text_limit, channel.image_hosts)
        self._stream = Stream(sender, streaming, self._text, reply_state, self._pace, translate, clock)
        self._rest = unsent_parts_of(progress)
        self._last_words = StreamEnd(sender, channel, self._stream, self._text, progress, self._rest, translate)
        self._longest_until_sent = streaming.interval + _STOOD_STILL
        self._typing = TypingIndicator(sender)
        self._keep: SaveCheckpoint = discard_checkpoint
        self._status = translate(THINKING)
        self._sent_status = ""
        self._sending_task: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._saved_at = 0.0
        self._stop: Callable[[], object] | None = None
        self.stopped = False

    @property
    def shown(self) -> str:
        return self._text.shown

    @property
    def _end(self) -> Answer | Failure | None:
        return self._stream.end

    def when_stopped(self, stop: Callable[[], object]) -> None:
        self._stop = stop

    async def begin(self, keep: SaveCheckpoint = discard_checkpoint) -> None:
        self._keep = keep
        self._stream.begin(keep)
        if self._stream.id is None:
            self._typing.start()
        self._sending_task = asyncio.create_task(self._send_all())

    async def write(self, event: Event) -> None:
        match event:
            case TextAdded(text, by_model):
                self._text.add(text)
                self._stream.by_model |= by_model
            case Status(text):
                self._status = text
            case ToolStarted(name=name):
                self._status = self._translate(Sentence("Using {tool}…"), tool=name.replace("_", " "))
            case Answer() | Failure():
                self._stream.end = event
                self._pace.ended = True
                if self._stream.takes_the_end and not self.stopped:
                    # At once: whoever goes on from here needs no model, however long the pace makes the end wait.
                    self._saving = asyncio.create_task(self._save())
            case _:
                return
        self._pace.news()

    async def finish(self) -> None:
        if self._sending_task is None:
            return
        try:
            await self._sending_task
        except (ChannelUnreachableError, ThrottledError) as failure:
            raise UndeliveredError(type(failure).__name__) from failure

    async def abandon(self) -> None:
        tasks = [task for task in (self._sending_task, self._saving) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                # Looked at, whoever did not wait for the end.
                task.exception()
        await self._typing.stop()

    async def _send_all(self) -> None:
        try:
            while self._end is None:
                await self._send_next()
            await self._finish(self._end)
        except StoppedByUserError:
            self.stopped = True
            if self._stop is not None:
                self._stop()

    async def _send_next(self) -> None:
        if self._stream.phase is not Phase.STREAMING:
            await self._show()
            await self._pace.next_edit()
        elif self._stream.id is None:
            await self._pace.beginning(lambda: bool(self._text.showable().strip()))
            await self._show()
        else:
            nothing_new = await self._pace.next_update()
            if self._end is None and self._pace.time_left <= 0:
                await self._stream.close_early()
            else:
                await self._show(keep_alive=nothing_new)

    async def _show(self, *, keep_alive: bool = False) -> None:
        self._pace.looked_at()
        if self._end is not None or self._stream.phase is Phase.WAITING or (self._text.frozen and not keep_alive):
            return
        try:
            if self._stream.phase is Phase.EDITING:
                await self._stream.edit(self._text.showable())
            else:
                await self._update(keep_alive=keep_alive)
        except StoppedByUserError:
            raise
        except StreamAlreadyEndedError:
            self._text.was_closed()
            self._stream.is_over()
        except StreamTimeLimitError:
            self._stream.is_over()
        except (StreamNotAllowedError, StreamContentRefusedError, MessageTooLargeError, SendRefusedError) as refusal:
            _log.info("The channel does not take an update (%s); the answer comes in the end", type(refusal).__name__)
            self._text.frozen = True
            if self._stream.id is None:
                self._stream.phase = Phase.WAITING
        except CheckpointError:
            self._pace.sent()
            self._pace.news()
        except ThrottledError as throttled:
            await self._pace.pause(throttled.retry_after, streaming=self._stream.phase is Phase.STREAMING)
            self._pace.news()
        except SendError as failure:
            _log.info("An update did not arrive (%s)", type(failure).__name__)
            if self._stream.id is None and isinstance(failure, DeliveryUnknownError):
                # Sent again it might open a second stream.
                self._stream.phase = Phase.WAITING
            # The next update carries all of the text; only the end has to arrive.
            self._pace.news()
        if self._stream.id is None and self._end is None:
            self._typing.start()

    async def _update(self, *, keep_alive: bool) -> None:
        text = self._text.showable()
        if text.strip() and (keep_alive or text != self._text.shown):
            await self._typing.stop()
            await self._stream.show(text)
        elif not self._text.shown and (keep_alive or self._status != self._sent_status):
            await self._typing.stop()
            status = self._status
            await self._stream.inform(status)
            self._sent_status = status

    async def _finish(self, end: Answer | Failure) -> None:
        await self._typing.stop()
        if self._saving is not None:
            await self._saving
        elif self._stream.takes_the_end:
            await self._save()
        if self._stream.takes_the_end and self._stream.phase is Phase.STREAMING:
            await self._pace.next_request()
            if asyncio.get_running_loop().time() > self._saved_at + self._longest_until_sent:
                # This process stood still meanwhile, and another may have the turn: only who has it says anything.
                await self._save()
        await self._last_words.say(end, Parts(self._sender, self._channel, end, self._translate, self._keep))

    async def _save(self) -> None:
        if not self._rest.parts:
            await self._stream.note()
        self._saved_at = asyncio.get_running_loop().time()
