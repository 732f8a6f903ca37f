"""A reply of whole messages: typing while the model works, then the answer in one or more messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from app.agent.events import Answer, Event, Failure
from app.bot.channel import Channel
from app.bot.outlet import Json, Outlet
from app.bot.rendering import activities
from app.bot.rendering.split import split
from app.bot.send_failures import ChannelUnreachable, MessageTooLarge, SendFailure, StreamAlreadyEnded

# Teams shows a typing indicator for a few seconds.
_TYPING_EVERY = 4.0
_STREAM_END_TRIES = 4
_BETWEEN_STREAM_END_TRIES = 2.0


class MessageReply:
    def __init__(self, outlet: Outlet, channel: Channel) -> None:
        self._outlet = outlet
        self._channel = channel
        self._typing: asyncio.Task[None] | None = None
        self._end: Answer | Failure | None = None

    stopped = False
    shown = ""

    def when_stopped(self, stop: Callable[[], object]) -> None:
        """There is no Stop button where nothing streams."""

    async def begin(self) -> None:
        if self._channel.typing:
            self._typing = asyncio.create_task(self._keep_typing())

    async def write(self, event: Event) -> None:
        if isinstance(event, Answer | Failure):
            self._end = event

    async def finish(self) -> None:
        await self.abandon()
        if self._end is not None:
            await post_in_parts(self._outlet, self._channel, self._end, activities.text_of(self._end))

    async def abandon(self) -> None:
        if self._typing is not None:
            self._typing.cancel()
            await asyncio.wait([self._typing])
            self._typing = None

    async def _keep_typing(self) -> None:
        while True:
            try:
                await self._outlet.post(activities.typing(), impatient=True)
            except SendFailure:
                return
            await asyncio.sleep(_TYPING_EVERY)


async def post_in_parts(outlet: Outlet, channel: Channel, end: Answer | Failure, text: str) -> None:
    """Posts `text`, which belongs to `end`, as new messages."""
    await post_parts(outlet, channel, end, split(text, channel.text_limit))


async def post_parts(outlet: Outlet, channel: Channel, end: Answer | Failure, parts: Sequence[str]) -> None:
    """Posts each part as a new message, in half the size if the channel finds one too large."""
    pending = [part for part in parts if part.strip()]
    halved = False
    while pending:
        activity = dressed(activities.message(pending[0]), channel, end, last=len(pending) == 1)
        try:
            await outlet.post(activity)
        except MessageTooLarge:
            if halved:
                raise
            halved = True
            pending = [part for whole in pending for part in split(whole, channel.text_limit // 2)]
            continue
        pending.pop(0)


async def end_stream(outlet: Outlet, stream_id: str, activity: Json) -> None:
    """A stream ends once: its last message, sent again after nobody knows what, cannot become a second one."""
    closing = activities.closing_stream(activity, stream_id)
    perhaps_ended = False
    for _ in range(_STREAM_END_TRIES - 1):
        try:
            await outlet.post(closing)
            return
        except StreamAlreadyEnded:
            if perhaps_ended:
                return
            raise
        except ChannelUnreachable:
            perhaps_ended = True
        await asyncio.sleep(_BETWEEN_STREAM_END_TRIES)
    with suppress(StreamAlreadyEnded):
        await outlet.post(closing)


def dressed(activity: Json, channel: Channel, end: Answer | Failure, *, last: bool) -> Json:
    """The activity with the label and the buttons that belong to what a model wrote."""
    by_model = end.by_model if isinstance(end, Answer) else bool(end.text.strip())
    if not by_model:
        return activity
    if channel.ai_label:
        activity = activities.labelled(activity, end.citations if isinstance(end, Answer) else ())
    return activities.with_feedback(activity) if channel.feedback and last and isinstance(end, Answer) else activity
