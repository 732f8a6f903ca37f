"""A reply that streams: one task sends whatever is newest, never faster than the channel allows, never two at once.

Protocol: https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from app.agent.events import Answer, Event, Failure, Status, TextAdded, ToolStarted
from app.bot.channel import Channel, Streaming, WhenTimeRunsOut
from app.bot.connector_answers import PerhapsDelivered
from app.bot.message_reply import NOTHING_YET, Parts, dressed, end_stream, rest_in
from app.bot.outlet import Outlet
from app.bot.rendering import activities
from app.bot.rendering.markdown import end_of, presentable, render, utf16_units
from app.bot.rendering.split import split
from app.bot.send_failures import (
    ChannelUnreachable,
    MessageTooLarge,
    SendFailure,
    SendRefused,
    StoppedByPerson,
    StreamAlreadyEnded,
    StreamContentRefused,
    StreamNotAllowed,
    StreamTimeIsUp,
    Throttled,
)
from app.bot.stream_pace import StreamPace
from app.bot.stream_place import Phase, StreamPlace
from app.turns.progress import Progress
from app.turns.reply import Keep, NotKept, Undelivered, keep_nothing

_log = logging.getLogger(__name__)

_THINKING = "Thinking…"
_STILL_WORKING = "*This takes a while. I am still working on it…*"
_CONTINUES = "*(The answer continues in the next message.)*"
# Beyond this share of the size limit nothing more is streamed: the final message needs room to close what is open.
_STREAMED_SHARE = 0.9


class StreamReply:
    """Goes on from `progress`, which another worker may have left. `clock` is in seconds since 1970."""

    def __init__(
        self,
        outlet: Outlet,
        channel: Channel,
        streaming: Streaming,
        progress: Progress = NOTHING_YET,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        place = StreamPlace.read(progress.place)
        self._outlet = outlet
        self._channel = channel
        self._rules = streaming
        self._clock = clock
        self._keep: Keep = keep_nothing
        self._phase = place.phase
        self._stream_id = place.stream_id
        self._sequence = place.sequence
        self._closes = place.closes
        # What another worker had not certainly posted of an end that it had begun to say.
        self._rest = rest_in(progress)
        self._perhaps_ended = progress.end is not None
        self._limit = place.limit
        self._status = _THINKING
        self._sent_status = ""
        self._pace = StreamPace(streaming)
        self._keep_alive = False
        self._parts = [progress.text]
        self._by_model = bool(progress.text)
        # The longest text sent; not what was shown if nobody knows whether it arrived.
        self._attempted = progress.text
        self._frozen = False
        self._end: Answer | Failure | None = None
        self._sender: asyncio.Task[None] | None = None
        self._stop: Callable[[], object] | None = None
        # How much of the model's text, as all texts here but those in activities, stands in a closed message.
        self._settled = place.settled
        self.stopped = False
        self.shown = progress.text[: place.shown]

    def when_stopped(self, stop: Callable[[], object]) -> None:
        self._stop = stop

    async def begin(self, keep: Keep = keep_nothing) -> None:
        self._keep = keep
        now = self._clock()
        self._closes = self._closes or now + self._rules.closes_after
        self._pace.begin(self._closes - now)
        self._sender = asyncio.create_task(self._send_all())

    async def write(self, event: Event) -> None:
        match event:
            case TextAdded(text, by_model):
                self._parts.append(text)
                self._by_model |= by_model
            case Status(text):
                self._status = text
            case ToolStarted(name=name):
                self._status = f"Using {name.replace('_', ' ')}…"
            case Answer() | Failure():
                self._end = event
                self._pace.ended = True
            case _:
                return
        self._pace.news()

    async def finish(self) -> None:
        if self._sender is None:
            return
        try:
            await self._sender
        except (ChannelUnreachable, Throttled) as failure:
            raise Undelivered(type(failure).__name__) from failure

    async def abandon(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.wait([self._sender])
            if not self._sender.cancelled():
                # Looked at, whoever did not wait for the end.
                self._sender.exception()

    async def _send_all(self) -> None:
        try:
            while self._end is None:
                await self._show()
                if self._phase is not Phase.STREAMING:
                    await self._pace.next_edit()
                    continue
                self._keep_alive = await self._pace.next_update()
                if self._end is None and self._pace.time_left <= 0:
                    await self._close_early()
            await self._finish(self._end)
        except StoppedByPerson:
            self.stopped = True
            if self._stop is not None:
                self._stop()

    def _text(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def _showable(self) -> str:
        """Never less than what was sent before: the channel refuses an update that does not begin with it."""
        text = presentable(self._text())
        too_long = utf16_units(render(text)) > self._channel.text_limit * _STREAMED_SHARE
        return self._streamed if self._frozen or too_long or len(text) < len(self._attempted) else text

    @property
    def _streamed(self) -> str:
        return self.shown if self._frozen else self._attempted

    async def _show(self) -> None:
        self._pace.looked_at()
        keep_alive, self._keep_alive = self._keep_alive, False
        if self._phase is Phase.WAITING or (self._frozen and not keep_alive):
            return
        try:
            if self._phase is Phase.EDITING:
                await self._edit()
            else:
                await self._update_stream(keep_alive=keep_alive)
        except StoppedByPerson:
            raise
        except (StreamTimeIsUp, StreamAlreadyEnded):
            self._after_the_stream()
        except (StreamNotAllowed, StreamContentRefused, MessageTooLarge, SendRefused) as refusal:
            _log.info("The channel does not take an update (%s); the answer comes in the end", type(refusal).__name__)
            self._frozen = True
            if self._stream_id is None:
                self._phase = Phase.WAITING
        except NotKept:
            self._pace.sent()
            self._pace.news()
        except Throttled as throttled:
            await self._pace.pause(throttled.retry_after, streaming=self._phase is Phase.STREAMING)
            self._pace.news()
        except SendFailure as failure:
            _log.info("An update did not arrive (%s)", type(failure).__name__)
            if self._stream_id is None and isinstance(failure, PerhapsDelivered):
                # Sent again it might open a second stream.
                self._phase = Phase.WAITING
            # The next update carries all of the text; only the end has to arrive.
            self._pace.news()

    async def _update_stream(self, *, keep_alive: bool) -> None:
        text = self._showable()
        if text.strip() and (keep_alive or text != self.shown):
            await self._note(text)
            await self._post_update(activities.streamed(render(text), self._sequence + 1, self._stream_id))
            self.shown = text
        elif not self.shown and (keep_alive or self._status != self._sent_status):
            if self._stream_id is not None:
                await self._note(self._attempted)
            await self._post_update(activities.informative(self._status, self._sequence + 1, self._stream_id))
            self._sent_status = self._status

    async def _post_update(self, activity: activities.Json) -> None:
        try:
            stream_id = await self._outlet.post(activity, impatient=True)
        except PerhapsDelivered:
            # Its number may be used up.
            self._sequence += 1
            raise
        finally:
            self._pace.sent()
        self._sequence += 1
        if self._stream_id is None:
            self._stream_id = stream_id
            if stream_id is None:
                self._phase = Phase.WAITING
            else:
                with suppress(NotKept):
                    await self._note(self._attempted)

    async def _note(self, text: str, end: Answer | Failure | None = None) -> None:
        """Before `text` or `end` is sent, so that whoever goes on never knows of less than was shown."""
        place = StreamPlace(
            self._stream_id, self._sequence + 1, self._closes, self._phase, self._settled, len(self.shown), self._limit
        )
        await self._keep(Progress(text, place.written(), end))
        self._attempted = text

    async def _edit(self) -> None:
        text = self._showable()
        if text != self.shown and self._stream_id is not None:
            await self._note(text)
            note = activities.message(activities.with_notes(render(text), _STILL_WORKING))
            await self._outlet.update(self._stream_id, note, impatient=True)
            self.shown = text

    def _after_the_stream(self) -> None:
        edits = self._rules.then is WhenTimeRunsOut.EDIT_THE_MESSAGE and self._stream_id is not None
        self._phase = Phase.EDITING if edits else Phase.WAITING
        if not edits:
            self._settled = len(self.shown)

    async def _close_early(self) -> None:
        """Closes the stream before the channel does, with what there is; the rest follows as the channel allows."""
        if self._stream_id is None:
            self._phase = Phase.WAITING
            return
        text = self._streamed
        continues = bool(text) and self._rules.then is WhenTimeRunsOut.NEW_MESSAGE
        activity = activities.message(activities.with_notes(render(text), _CONTINUES if continues else _STILL_WORKING))
        if text and self._by_model:
            activity = activities.labelled(activity, ())
        try:
            await end_stream(self._outlet, self._stream_id, activity)
            self.shown = text
        except StoppedByPerson:
            raise
        except SendFailure as failure:
            _log.info("A stream could not be closed (%s); the rest needs it no more", type(failure).__name__)
        self._after_the_stream()
        with suppress(NotKept):
            await self._note(self._attempted)

    async def _finish(self, end: Answer | Failure) -> None:
        text = activities.text_of(end)
        parts = Parts(self._outlet, self._channel, end, self._keep)
        if self._rest.parts:
            await parts.post(self._rest.parts, perhaps_posted=self._rest.perhaps_posted)
        else:
            await self._note(self._attempted, end)
            rest = await self._end_in_stream(end, text)
            if rest is None:
                rest = await self._end_by_editing(end, text)
            if rest is None:
                rest = self._unsettled(end.text, text)
            await parts.post(rest)
        self.shown = end.text

    async def _end_in_stream(self, end: Answer | Failure, text: str) -> list[str] | None:
        """The parts that did not fit into the stream's message; None if the stream does not take the end."""
        if self._phase is not Phase.STREAMING or self._stream_id is None:
            return None
        limit, streamed = self._limit or self._channel.text_limit, render(self._streamed)
        try:
            try:
                first, *rest = split(text, limit, at_least=len(streamed))
                await self._end_stream(self._dressed(end, first, last=not rest))
            except MessageTooLarge:
                self._limit = max(limit // 2, utf16_units(streamed) + 10)
                await self._note(self._attempted, end)
                first, *rest = split(text, self._limit, at_least=len(streamed))
                await self._end_stream(self._dressed(end, first, last=not rest))
        except (StreamTimeIsUp, StreamAlreadyEnded, Throttled):
            self._after_the_stream()
        except (StreamNotAllowed, StreamContentRefused, MessageTooLarge, SendRefused):
            self._phase = Phase.WAITING
        else:
            return rest
        return None

    async def _end_stream(self, activity: activities.Json) -> None:
        assert self._stream_id is not None
        await end_stream(self._outlet, self._stream_id, activity, perhaps_ended=self._perhaps_ended)

    async def _end_by_editing(self, end: Answer | Failure, text: str) -> list[str] | None:
        if self._phase is not Phase.EDITING or self._stream_id is None:
            return None
        first, *rest = split(text, self._channel.text_limit)
        try:
            await self._outlet.update(self._stream_id, self._dressed(end, first, last=not rest))
        except (ChannelUnreachable, Throttled):
            raise
        except SendFailure:
            # A message that cannot be edited any more must not cost the person the answer.
            return None
        return rest

    def _unsettled(self, said: str, text: str) -> list[str]:
        settled = render(said[: self._settled])
        rest = text[len(settled) :].lstrip("\n")
        if settled and not rest.strip("\n `~"):
            return [activities.THAT_WAS_ALL]
        return split(end_of(settled).opening + rest, self._channel.text_limit)

    def _dressed(self, end: Answer | Failure, text: str, *, last: bool) -> activities.Json:
        return dressed(activities.message(text), self._channel, end, last=last)
