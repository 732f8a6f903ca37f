"""A reply of whole messages: typing while the model works, then the answer in one or more messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.agent.events import Answer, Event, Failure
from app.bot.channel import Channel
from app.bot.connector_answers import NotDelivered, PerhapsDelivered
from app.bot.outlet import Json, Outlet
from app.bot.rendering import activities
from app.bot.rendering.split import split
from app.bot.send_failures import ChannelUnreachable, MessageTooLarge, StreamAlreadyEnded, Throttled
from app.bot.typing_indicator import TypingIndicator
from app.translation import ENGLISH, Sentence, Translator
from app.turns.progress import Progress
from app.turns.reply import Keep, Undelivered, keep_nothing

SENT_AGAIN = Sentence("*(Sent again, because the channel did not say whether it had arrived.)*")
NOTHING_YET = Progress()
_POST_TRIES = 3
_BETWEEN_POST_TRIES = 2.0
_STREAM_END_TRIES = 4
_BETWEEN_STREAM_END_TRIES = 2.0


class MessageReply:
    """Goes on from `progress`, which another worker may have left."""

    def __init__(
        self,
        outlet: Outlet,
        channel: Channel,
        progress: Progress = NOTHING_YET,
        *,
        translate: Translator = ENGLISH,
    ) -> None:
        self._outlet = outlet
        self._channel = channel
        self._translate = translate
        self._rest = rest_in(progress)
        self._keep: Keep = keep_nothing
        self._typing = TypingIndicator(outlet)
        self._end: Answer | Failure | None = None

    stopped = False
    shown = ""

    def when_stopped(self, stop: Callable[[], object]) -> None:
        """There is no Stop button where nothing streams."""

    async def begin(self, keep: Keep = keep_nothing) -> None:
        self._keep = keep
        if self._channel.typing:
            self._typing.start()

    async def write(self, event: Event) -> None:
        if isinstance(event, Answer | Failure):
            self._end = event

    async def finish(self) -> None:
        await self.abandon()
        if self._end is None:
            return
        parts = Parts(self._outlet, self._channel, self._end, self._translate, self._keep)
        try:
            whole = split(
                activities.text_of(self._end, self._translate, self._channel.image_hosts), self._channel.text_limit
            )
            await parts.post(self._rest.parts or whole, perhaps_posted=self._rest.perhaps_posted)
        except (ChannelUnreachable, Throttled) as failure:
            raise Undelivered(type(failure).__name__) from failure

    async def abandon(self) -> None:
        await self._typing.stop()


@dataclass(frozen=True, slots=True)
class Rest:
    """The parts that were not certainly posted, and whether the first perhaps was."""

    parts: tuple[str, ...] = ()
    perhaps_posted: bool = False

    def written(self) -> Json:
        return {"rest": list(self.parts), "perhaps_posted": self.perhaps_posted}


def rest_in(progress: Progress) -> Rest:
    parts = progress.place.get("rest")
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        return Rest()
    return Rest(tuple(parts), progress.place.get("perhaps_posted") is not False)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one end, each a new message. Before one is posted, `keep` learns that it may have been."""

    outlet: Outlet
    channel: Channel
    end: Answer | Failure
    translate: Translator
    keep: Keep = keep_nothing

    async def post(self, parts: Sequence[str], *, perhaps_posted: bool = False) -> None:
        """In half the size where the channel finds a part too large; marked where it may stand there twice."""
        pending = [part for part in parts if part.strip()]
        again = perhaps_posted
        tries_left = _tries(again)
        halved = False
        while pending:
            # Before each try, for only who has the turn may say anything in it.
            await self._note(pending, perhaps_posted=True)
            try:
                await self._post_one(pending[0], last=len(pending) == 1, again=again)
            except (NotDelivered, Throttled):
                await self._note(pending, perhaps_posted=again)
                raise
            except PerhapsDelivered:
                tries_left -= 1
                if not tries_left:
                    raise
                again = True
                await asyncio.sleep(_BETWEEN_POST_TRIES)
                continue
            except MessageTooLarge:
                if halved:
                    raise
                halved = True
                pending = [part for whole in pending for part in split(whole, self.channel.text_limit // 2)]
                continue
            again = False
            tries_left = _tries(again)
            pending.pop(0)

    async def _note(self, pending: Sequence[str], *, perhaps_posted: bool) -> None:
        await self.keep(Progress(place=Rest(tuple(pending), perhaps_posted).written(), end=self.end))

    async def _post_one(self, text: str, *, last: bool, again: bool) -> None:
        activity = dressed(activities.message(text), self.channel, self.end, self.translate, last=last)
        if again:
            activity = {**activity, "text": activities.with_notes(text, self.translate(SENT_AGAIN))}
        await self.outlet.post(activity)


def _tries(again: bool) -> int:
    return 1 if again else _POST_TRIES


async def end_stream(outlet: Outlet, stream_id: str, activity: Json, *, perhaps_ended: bool = False) -> None:
    """A stream ends once: its last message, sent again after nobody knows what, cannot become a second one."""
    closing = activities.closing_stream(activity, stream_id)
    for tries_left in reversed(range(_STREAM_END_TRIES)):
        try:
            await outlet.post(closing)
            return
        except StreamAlreadyEnded:
            if perhaps_ended:
                return
            raise
        except Throttled as throttled:
            if not perhaps_ended:
                raise
            if not tries_left:
                # Said in another way it might stand there twice.
                raise ChannelUnreachable("whether a stream has ended is not known") from throttled
        except ChannelUnreachable:
            perhaps_ended = True
            if not tries_left:
                raise
        await asyncio.sleep(_BETWEEN_STREAM_END_TRIES)


def dressed(activity: Json, channel: Channel, end: Answer | Failure, translate: Translator, *, last: bool) -> Json:
    """The activity with the label and the buttons that belong to what a model wrote."""
    if not end.by_model:
        return activity
    if channel.ai_label and not activities.is_only_notes(activity["text"], end, translate):
        activity = activities.labelled(activity, end.citations if isinstance(end, Answer) else (), translate)
    return activities.with_feedback(activity) if channel.feedback and last and isinstance(end, Answer) else activity
