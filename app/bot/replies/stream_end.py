"""Delivers the end of a reply that streams: in the stream, by editing its message, or as messages of their own."""

from __future__ import annotations

import asyncio

from app.agent.events import End
from app.bot.channel import Channel, Streaming
from app.bot.connector.send_errors import (
    ChannelUnreachableError,
    MessageTooLargeError,
    SendError,
    SendRefusedError,
    ThrottledError,
)
from app.bot.rendering.markdown import utf16_units
from app.bot.rendering.rendered_end import END_NOTE, RenderedEnd
from app.bot.rendering.split import split
from app.bot.replies.activity_sender import ActivitySender
from app.bot.replies.parts_delivery import PartsDelivery, UnsentParts
from app.bot.replies.stream import Stream
from app.bot.replies.stream_pace import StreamPace
from app.bot.replies.stream_state import Phase, StreamState
from app.translation import Translator
from app.turns.checkpoint import Checkpoint
from app.turns.reply import SaveCheckpoint, discard_checkpoint

# An end is sent at most so long after it was saved, the pace aside, unless the whole process stood still.
_STALL_SECONDS = 1.0


class StreamEnd:
    """`checkpoint` is what another worker may have left: the parts of an end that it had not certainly posted, or an
    end that it may have sent into the stream.
    """

    def __init__(
        self,
        sender: ActivitySender,
        channel: Channel,
        rules: Streaming,
        state: StreamState,
        stream: Stream,
        pace: StreamPace,
        checkpoint: Checkpoint,
        translate: Translator,
    ) -> None:
        self._sender = sender
        self._channel = channel
        self._state = state
        self._stream = stream
        self._pace = pace
        self._translate = translate
        self._unsent = UnsentParts.of(checkpoint)
        self._perhaps_sent = checkpoint.end is not None
        self._valid_seconds = rules.interval_seconds + _STALL_SECONDS
        self._save_checkpoint: SaveCheckpoint = discard_checkpoint
        self._saving: asyncio.Task[None] | None = None
        self._saved_at = 0.0
        self.activity_id: str | None = None
        """Of the last message that is not the stream's own."""

    def begin(self, save_checkpoint: SaveCheckpoint) -> None:
        self._save_checkpoint = save_checkpoint

    def save_early(self) -> None:
        """Saves the end at once, before the pace is waited for: whoever continues from there needs no model."""
        if self._state.takes_end:
            self._saving = asyncio.create_task(self._save())

    async def abandon(self) -> None:
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.wait([self._saving])
            if not self._saving.cancelled():
                # Retrieved, so that asyncio does not log it where nobody waited for the end.
                self._saving.exception()

    async def deliver(self, end: End) -> None:
        await self._ensure_saved()
        rendered = RenderedEnd(end, self._channel, self._translate)
        if self._unsent.parts:
            await self._post(rendered, self._unsent)
        else:
            rendered, parts = await self._in_stream(rendered)
            if parts is None:
                rendered, parts = await self._by_editing(rendered)
            if parts is None:
                parts = self._state.text.unsettled(end.text, rendered.text, self._translate(END_NOTE))
            await self._post(rendered, UnsentParts(tuple(parts), with_card=rendered.has_card))
        self._state.text.shown = end.text

    async def _post(self, rendered: RenderedEnd, unsent: UnsentParts) -> None:
        delivery = PartsDelivery(self._sender, rendered, self._save_checkpoint)
        self.activity_id = await delivery.deliver(unsent)

    async def _ensure_saved(self) -> None:
        """An end that goes into the stream, or into its message, is saved before it is sent."""
        if self._saving is not None:
            await self._saving
        elif self._state.takes_end:
            await self._save()
        if self._state.takes_end and self._state.phase is Phase.STREAMING:
            await self._pace.wait_for_interval()
            if asyncio.get_running_loop().time() > self._saved_at + self._valid_seconds:
                # This process stood still, and another worker may have the turn: saving fails if it has.
                await self._save()

    async def _save(self) -> None:
        if not self._unsent.parts:
            await self._stream.save()
        self._saved_at = asyncio.get_running_loop().time()

    async def _in_stream(self, rendered: RenderedEnd) -> tuple[RenderedEnd, list[str] | None]:
        """The parts that did not fit into the stream's message; None if the stream does not take the end."""
        if self._state.phase is not Phase.STREAMING or self._state.stream_id is None:
            return rendered, None
        try:
            try:
                return await self._close_with(rendered)
            except MessageTooLargeError:
                rendered = await self._smaller(rendered)
                return await self._close_with(rendered)
        except SendError as failure:
            if not self._state.end_failed(failure):
                raise
            return rendered, None

    async def _smaller(self, rendered: RenderedEnd) -> RenderedEnd:
        self._state.size_limit = max(self._size_limit // 2, utf16_units(self._streamed) + 10)
        await self._stream.save()
        return rendered.with_smaller_card()

    async def _close_with(self, rendered: RenderedEnd) -> tuple[RenderedEnd, list[str]]:
        first, *others = split(rendered.text, self._size_limit, at_least=len(self._streamed))
        try:
            await self._stream.close(rendered.message(first, last=not others), perhaps_closed=self._perhaps_sent)
        except SendRefusedError:
            if others or not rendered.has_card:
                raise
            return await self._close_with(rendered.without_card())
        return rendered, others

    @property
    def _size_limit(self) -> int:
        return self._state.size_limit or self._channel.text_limit_utf16

    @property
    def _streamed(self) -> str:
        return self._state.text.rendered(self._state.text.streamed)

    async def _by_editing(self, rendered: RenderedEnd) -> tuple[RenderedEnd, list[str] | None]:
        """The parts that did not fit into the stream's message; None if it cannot be edited."""
        if self._state.phase is not Phase.EDITING or self._state.stream_id is None:
            return rendered, None
        first, *others = split(rendered.text, self._channel.text_limit_utf16)
        try:
            await self._sender.update(self._state.stream_id, rendered.message(first, last=not others))
        except (ChannelUnreachableError, ThrottledError):
            raise
        except SendError as failure:
            if isinstance(failure, SendRefusedError) and rendered.has_card and not others:
                return await self._by_editing(rendered.without_card())
            # A message that can no longer be edited must not cost the person the answer.
            return rendered, None
        return rendered, others
