"""A reply that streams: one task sends whatever is newest, never faster than the channel allows, never two at once.

Protocol: https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum

from app.agent.events import Answer, Event, Failure, Status, TextAdded, ToolStarted
from app.bot.channel import Channel, Streaming, WhenTimeRunsOut
from app.bot.message_reply import dressed, post_in_parts
from app.bot.outlet import Outlet
from app.bot.rendering import activities
from app.bot.rendering.markdown import presentable, utf16_units
from app.bot.rendering.split import place_to_cut, split
from app.bot.send_failures import (
    ChannelUnreachable,
    MessageTooLarge,
    SendFailure,
    StoppedByPerson,
    StreamAlreadyEnded,
    StreamContentRefused,
    StreamNotAllowed,
    StreamTimeIsUp,
    Throttled,
)

_log = logging.getLogger(__name__)

_THINKING = "Thinking…"
_STILL_WORKING = "This takes a while. I am still working on it…"
_CONTINUES = "\n\n*(The answer continues in the next message.)*"
_EDIT_EVERY = 5.0
_FINAL_TRIES = 4
_BETWEEN_FINAL_TRIES = 2.0
# Beyond this share of the size limit nothing more is streamed: the final message needs room to close what is open.
_STREAMED_SHARE = 0.9


class _Phase(Enum):
    STREAMING = "the stream is open"
    EDITING = "the stream is closed, its message is edited"
    WAITING = "nothing more is shown until the end"


class StreamReply:
    def __init__(self, outlet: Outlet, channel: Channel, streaming: Streaming) -> None:
        self._outlet = outlet
        self._channel = channel
        self._rules = streaming
        self._phase = _Phase.STREAMING
        self._stream_id: str | None = None
        self._sequence = 0
        self._status = _THINKING
        self._sent_status = ""
        self._last_sent_at = 0.0
        self._keep_alive = False
        self._parts: list[str] = []
        self._end: Answer | Failure | None = None
        self._news = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        self._stop: Callable[[], object] | None = None
        # How much of the text stands in a closed message, and what has to be opened again after it.
        self._settled = 0
        self._reopening = ""
        self.stopped = False
        self.shown = ""

    def when_stopped(self, stop: Callable[[], object]) -> None:
        self._stop = stop

    async def begin(self) -> None:
        self._last_sent_at = asyncio.get_running_loop().time() - self._rules.interval
        self._closes_at = asyncio.get_running_loop().time() + self._rules.closes_after
        self._sender = asyncio.create_task(self._send_all())

    async def write(self, event: Event) -> None:
        match event:
            case TextAdded(text):
                self._parts.append(text)
            case Status(text):
                self._status = text
            case ToolStarted(name=name):
                self._status = f"Using {name.replace('_', ' ')}…"
            case Answer() | Failure():
                self._end = event
            case _:
                return
        self._news.set()

    async def finish(self) -> None:
        if self._sender is not None:
            await self._sender

    async def abandon(self) -> None:
        if self._sender is not None and not self._sender.done():
            self._sender.cancel()
            await asyncio.wait([self._sender])

    async def _send_all(self) -> None:
        try:
            while self._end is None:
                await self._show()
                await self._wait_for_news()
                if self._phase is _Phase.STREAMING and self._end is None and self._time_left() <= 0:
                    await self._close_early()
            await self._finish(self._end)
        except StoppedByPerson:
            self.stopped = True
            if self._stop is not None:
                self._stop()

    def _time_left(self) -> float:
        return self._closes_at - asyncio.get_running_loop().time()

    async def _wait_for_news(self) -> None:
        """Returns when something may be sent that is worth sending, or when the stream has to be closed."""
        loop = asyncio.get_running_loop()
        if self._phase is not _Phase.STREAMING:
            await self._end_within(_EDIT_EVERY)
            return
        await asyncio.sleep(self._last_sent_at + self._rules.interval - loop.time())
        due = min(self._last_sent_at + self._rules.keep_alive, self._closes_at)
        try:
            async with asyncio.timeout_at(due):
                await self._news.wait()
        except TimeoutError:
            self._keep_alive = True

    async def _end_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self._end is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return

    def _text(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    async def _show(self) -> None:
        self._news.clear()
        keep_alive, self._keep_alive = self._keep_alive, False
        if self._phase is _Phase.WAITING:
            return
        text = presentable(self._text())
        if utf16_units(text) > self._channel.text_limit * _STREAMED_SHARE:
            text = self.shown
        try:
            if self._phase is _Phase.EDITING:
                await self._edit(text)
            elif text.strip() and (keep_alive or text != self.shown):
                await self._post_update(activities.streamed(text, self._sequence + 1, self._stream_id))
                self.shown = text
            elif not self.shown and (keep_alive or self._status != self._sent_status):
                await self._post_update(activities.informative(self._status, self._sequence + 1, self._stream_id))
                self._sent_status = self._status
        except StoppedByPerson:
            raise
        except StreamTimeIsUp:
            self._after_the_stream()
        except (StreamNotAllowed, StreamContentRefused, StreamAlreadyEnded, MessageTooLarge) as refusal:
            _log.info(
                "The channel does not take this stream (%s); the answer comes as a message", type(refusal).__name__
            )
            self._phase = _Phase.WAITING
        except Throttled as throttled:
            await asyncio.sleep(throttled.retry_after or self._rules.interval)
            self._news.set()
        except SendFailure as failure:
            # The next update carries all of the text; only the end has to arrive.
            _log.info("An update did not arrive (%s)", type(failure).__name__)
            self._news.set()

    async def _post_update(self, activity: activities.Json) -> None:
        try:
            stream_id = await self._outlet.post(activity, impatient=True)
        finally:
            # Counted from the end of the request, so that no delay on the way brings two updates closer together.
            self._last_sent_at = asyncio.get_running_loop().time()
        self._sequence += 1
        if self._stream_id is None:
            self._stream_id = stream_id
            if stream_id is None:
                self._phase = _Phase.WAITING

    async def _edit(self, text: str) -> None:
        if text != self.shown and self._stream_id is not None:
            await self._outlet.update(
                self._stream_id, activities.message(f"{text}\n\n*{_STILL_WORKING}*"), impatient=True
            )
            self.shown = text

    def _after_the_stream(self) -> None:
        edits = self._rules.then is WhenTimeRunsOut.EDIT_THE_MESSAGE and self._stream_id is not None
        self._phase = _Phase.EDITING if edits else _Phase.WAITING
        if not edits:
            self._settled = len(self.shown)

    async def _close_early(self) -> None:
        """Closes the stream before the channel does, with what there is; the rest follows as the channel allows."""
        if self._stream_id is None:
            self._phase = _Phase.WAITING
            return
        text = self.shown
        closing = text
        settled, reopening = 0, ""
        if self._rules.then is WhenTimeRunsOut.NEW_MESSAGE and text:
            place = place_to_cut(text, utf16_units(text) + self._channel.text_limit, at_least=len(text))
            closing, settled, reopening = text + place.closing + _CONTINUES, len(text), place.opening
        activity = activities.message(closing or _STILL_WORKING)
        if closing:
            activity = activities.labelled(activity, ())
        try:
            await self._outlet.post(activities.closing_stream(activity, self._stream_id))
        except (StreamTimeIsUp, StreamAlreadyEnded):
            settled, reopening = (settled, reopening) if settled else (0, "")
        self._after_the_stream()
        self._settled, self._reopening = settled, reopening

    async def _finish(self, end: Answer | Failure) -> None:
        text = activities.text_of(end)
        if self._phase is _Phase.STREAMING and self._stream_id is not None:
            try:
                await self._close_stream(self._stream_id, end, text)
                return
            except StreamAlreadyEnded:
                return
            except StreamTimeIsUp:
                self._after_the_stream()
            except (StreamNotAllowed, StreamContentRefused):
                self._phase = _Phase.WAITING
        if self._phase is _Phase.EDITING and self._stream_id is not None:
            first, *rest = split(text, self._channel.text_limit)
            activity = dressed(activities.message(first), self._channel, end, last=not rest)
            try:
                await self._outlet.update(self._stream_id, activity)
            except SendFailure:
                # A message that cannot be edited any more must not cost the person the answer.
                await post_in_parts(self._outlet, self._channel, end, text)
            else:
                await post_in_parts(self._outlet, self._channel, end, "\n\n".join(rest))
        else:
            rest_of_text = text[self._settled :]
            await post_in_parts(self._outlet, self._channel, end, self._reopening + rest_of_text.lstrip("\n"))
        self.shown = text

    async def _close_stream(self, stream_id: str, end: Answer | Failure, text: str) -> None:
        limit = self._channel.text_limit
        try:
            first, *rest = split(text, limit, at_least=len(self.shown))
            await self._post_final(stream_id, end, first, last=not rest)
        except MessageTooLarge:
            first, *rest = split(text, max(limit // 2, utf16_units(self.shown) + 10), at_least=len(self.shown))
            await self._post_final(stream_id, end, first, last=not rest)
        self.shown = text
        for number, part in enumerate(rest, start=1):
            await self._outlet.post(dressed(activities.message(part), self._channel, end, last=number == len(rest)))

    async def _post_final(self, stream_id: str, end: Answer | Failure, text: str, *, last: bool) -> None:
        activity = activities.closing_stream(
            dressed(activities.message(text), self._channel, end, last=last), stream_id
        )
        for _ in range(_FINAL_TRIES - 1):
            try:
                await self._outlet.post(activity)
                return
            except ChannelUnreachable:
                # A stream ends once: if it did arrive, the next try is StreamAlreadyEnded, not a second message.
                await asyncio.sleep(_BETWEEN_FINAL_TRIES)
        await self._outlet.post(activity)
