"""One stream in the channel: opened, updated, closed, and its message edited where the channel can do that.

Protocol: https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from app.bot.channel import Streaming
from app.bot.connector.send_errors import (
    ChannelUnreachableError,
    DeliveryUnknownError,
    SendError,
    StoppedByUserError,
    StreamAlreadyEndedError,
    ThrottledError,
)
from app.bot.rendering import activities
from app.bot.replies.activity_sender import ActivitySender
from app.bot.replies.stream_pace import StreamPace
from app.bot.replies.stream_state import StreamState
from app.translation import Sentence, Translator
from app.turns.reply import CheckpointError, SaveCheckpoint, discard_checkpoint

_log = logging.getLogger(__name__)

_STILL_WORKING = Sentence("*This takes a while. I am still working on it…*")
_CONTINUES = Sentence("*(The answer continues in the next message.)*")
_MAX_CLOSE_TRIES = 4
_CLOSE_RETRY_SECONDS = 2.0


class Stream:
    """Changes `state` as the channel answers. `clock` is in seconds since 1970.

    A checkpoint is saved before each send. Every sending method raises the errors of `app.bot.connector.send_errors`,
    `CheckpointError` and `LeaseLostError`.
    """

    def __init__(
        self,
        sender: ActivitySender,
        rules: Streaming,
        state: StreamState,
        pace: StreamPace,
        translate: Translator,
        clock: Callable[[], float],
    ) -> None:
        self._sender = sender
        self._rules = rules
        self._state = state
        self._pace = pace
        self._translate = translate
        self._clock = clock
        self._save_checkpoint: SaveCheckpoint = discard_checkpoint

    def begin(self, save_checkpoint: SaveCheckpoint) -> None:
        self._save_checkpoint = save_checkpoint
        if self._state.stream_id is not None:
            self._pace.opened(self._state.closes_at - self._clock())
            # Another worker may have sent just now.
            self._pace.sent()

    async def save(self) -> None:
        await self._save_checkpoint(self._state.checkpoint())

    async def show(self, text: str) -> None:
        state = self._state
        if await self._may_be_sent(text):
            await self._post(activities.streamed(state.text.rendered(text), state.sequence + 1, state.stream_id))
            state.text.shown = text

    async def inform(self, status: str) -> None:
        state = self._state
        if await self._may_be_sent(state.text.attempted):
            await self._post(activities.informative(status, state.sequence + 1, state.stream_id))

    async def _may_be_sent(self, text: str) -> bool:
        """Saves that it is about to be sent, and says whether it still makes sense."""
        state = self._state
        if state.stream_id is None:
            state.closes_at = self._clock() + self._rules.closes_after_seconds
        await self._save_attempt(text)
        if state.stream_id is None:
            await self._pace.wait_to_open()
        # An answer that has ended by now needs no stream, and its end does not wait for an update.
        return state.end is None

    async def _save_attempt(self, text: str) -> None:
        # Set before it is saved: an end that is saved at the same time has to count with it.
        before, self._state.text.attempted = self._state.text.attempted, text
        try:
            await self._save_checkpoint(self._state.checkpoint(coming=1))
        except CheckpointError:
            self._state.text.attempted = before
            raise

    async def _post(self, activity: activities.Json) -> None:
        state = self._state
        opens = state.stream_id is None
        if opens:
            self._pace.opened(self._rules.closes_after_seconds)
        state.sequence += 1
        try:
            stream_id = await self._sender.post(activity, retry=False)
        except SendError as failure:
            if not isinstance(failure, DeliveryUnknownError):
                # The channel has not seen this number.
                state.sequence -= 1
            raise
        finally:
            self._pace.sent()
        if opens:
            state.opened(stream_id)
            if stream_id is not None:
                with suppress(CheckpointError):
                    await self.save()

    async def edit(self, text: str) -> None:
        state = self._state
        if state.stream_id is not None and text != state.text.shown:
            await self._save_attempt(text)
            await self._sender.update(state.stream_id, self._unfinished(text, _STILL_WORKING), retry=False)
            state.text.shown = text

    def _unfinished(self, text: str, note: Sentence) -> activities.Json:
        activity = activities.message(activities.with_notes(self._state.text.rendered(text), self._translate(note)))
        return activities.labelled(activity, (), self._translate) if text and self._state.by_model else activity

    async def close_early(self) -> None:
        """Closes the stream before the channel does, with the text so far; the rest follows as the channel allows."""
        state = self._state
        if state.stream_id is None:
            state.wait_for_end()
            return
        text = state.text.streamed
        continues = bool(text) and not state.edits_when_closed
        state.closing_early = True
        with suppress(CheckpointError):
            # Another worker that finds the stream closed has to know with what.
            await self._save_attempt(text)
        try:
            await self.close(self._unfinished(text, _CONTINUES if continues else _STILL_WORKING))
            state.text.shown = text
        except StoppedByUserError:
            raise
        except StreamAlreadyEndedError:
            state.text.shown_by_another_worker()
        except SendError as failure:
            _log.info("A stream could not be closed early (%s); its message is left as it is", type(failure).__name__)
        state.closed()
        state.closing_early = False
        with suppress(CheckpointError):
            await self.save()

    async def close(self, activity: activities.Json, *, perhaps_closed: bool = False) -> None:
        """Closes the stream with `activity` as its final message, which cannot arrive twice: it is repeated where
        nobody knows whether it has arrived, or where another worker `perhaps_closed` the stream before.
        """
        assert self._state.stream_id is not None
        final = activities.closing_stream(activity, self._state.stream_id)
        for tries_left in reversed(range(_MAX_CLOSE_TRIES)):
            try:
                await self._sender.post(final)
                return
            except StreamAlreadyEndedError:
                if perhaps_closed:
                    return
                raise
            except ThrottledError as throttled:
                if not perhaps_closed:
                    raise
                if not tries_left:
                    # As a message of its own it might stand there twice.
                    raise ChannelUnreachableError("whether a stream has ended is not known") from throttled
            except ChannelUnreachableError:
                perhaps_closed = True
                if not tries_left:
                    raise
            await asyncio.sleep(_CLOSE_RETRY_SECONDS)
