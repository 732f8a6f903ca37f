"""A reply of whole messages: typing while the model works, then the answer in one or more messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.agent.events import Answer, Event, Failure
from app.bot.channel import Channel
from app.bot.connector.connector_replies import DeliveryUnknownError, NotDeliveredError
from app.bot.connector.send_errors import (
    ChannelUnreachableError,
    MessageTooLargeError,
    StreamAlreadyEndedError,
    ThrottledError,
)
from app.bot.rendering import activities
from app.bot.rendering.split import split
from app.bot.replies.activity_sender import ActivitySender, Json
from app.bot.replies.typing_indicator import TypingIndicator
from app.translation import ENGLISH, Sentence, Translator
from app.turns.checkpoint import Checkpoint
from app.turns.reply import SaveCheckpoint, UndeliveredError, discard_checkpoint

SENT_AGAIN = Sentence("*(Sent again, because the channel did not say whether it had arrived.)*")
NO_CHECKPOINT = Checkpoint()
_POST_TRIES = 3
_BETWEEN_POST_TRIES = 2.0
_STREAM_END_TRIES = 4
_BETWEEN_STREAM_END_TRIES = 2.0


class MessageReply:
    """Goes on from `progress`, which another worker may have left."""

    def __init__(
        self,
        sender: ActivitySender,
        channel: Channel,
        progress: Checkpoint = NO_CHECKPOINT,
        *,
        translate: Translator = ENGLISH,
    ) -> None:
        self._sender = sender
        self._channel = channel
        self._translate = translate
        self._rest = unsent_parts_of(progress)
        self._keep: SaveCheckpoint = discard_checkpoint
        self._typing = TypingIndicator(sender)
        self._end: Answer | Failure | None = None

    stopped = False
    shown = ""

    def when_stopped(self, stop: Callable[[], object]) -> None:
        """There is no Stop button where nothing streams."""

    async def begin(self, keep: SaveCheckpoint = discard_checkpoint) -> None:
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
        parts = Parts(self._sender, self._channel, self._end, self._translate, self._keep)
        try:
            whole = split(
                activities.text_of(self._end, self._translate, self._channel.image_hosts), self._channel.text_limit
            )
            await parts.post(self._rest.parts or whole, perhaps_posted=self._rest.perhaps_posted)
        except (ChannelUnreachableError, ThrottledError) as failure:
            raise UndeliveredError(type(failure).__name__) from failure

    async def abandon(self) -> None:
        await self._typing.stop()


@dataclass(frozen=True, slots=True)
class UnsentParts:
    """The parts that were not certainly posted, and whether the first perhaps was."""

    parts: tuple[str, ...] = ()
    perhaps_posted: bool = False

    def written(self) -> Json:
        return {"rest": list(self.parts), "perhaps_posted": self.perhaps_posted}


def unsent_parts_of(progress: Checkpoint) -> UnsentParts:
    parts = progress.reply_state.get("rest")
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        return UnsentParts()
    return UnsentParts(tuple(parts), progress.reply_state.get("perhaps_posted") is not False)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one end, each a new message. Before one is posted, `keep` learns that it may have been."""

    sender: ActivitySender
    channel: Channel
    end: Answer | Failure
    translate: Translator
    keep: SaveCheckpoint = discard_checkpoint

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
            except (NotDeliveredError, ThrottledError):
                await self._note(pending, perhaps_posted=again)
                raise
            except DeliveryUnknownError:
                tries_left -= 1
                if not tries_left:
                    raise
                again = True
                await asyncio.sleep(_BETWEEN_POST_TRIES)
                continue
            except MessageTooLargeError:
                if halved:
                    raise
                halved = True
                pending = [part for whole in pending for part in split(whole, self.channel.text_limit // 2)]
                continue
            again = False
            tries_left = _tries(again)
            pending.pop(0)

    async def _note(self, pending: Sequence[str], *, perhaps_posted: bool) -> None:
        await self.keep(Checkpoint(reply_state=UnsentParts(tuple(pending), perhaps_posted).written(), end=self.end))

    async def _post_one(self, text: str, *, last: bool, again: bool) -> None:
        activity = with_ai_label(activities.message(text), self.channel, self.end, self.translate, last=last)
        if again:
            activity = {**activity, "text": activities.with_notes(text, self.translate(SENT_AGAIN))}
        await self.sender.post(activity)


def _tries(again: bool) -> int:
    return 1 if again else _POST_TRIES


async def end_stream(sender: ActivitySender, stream_id: str, activity: Json, *, perhaps_ended: bool = False) -> None:
    """A stream ends once: its last message, sent again after nobody knows what, cannot become a second one."""
    closing = activities.closing_stream(activity, stream_id)
    for tries_left in reversed(range(_STREAM_END_TRIES)):
        try:
            await sender.post(closing)
            return
        except StreamAlreadyEndedError:
            if perhaps_ended:
                return
            raise
        except ThrottledError as throttled:
            if not perhaps_ended:
                raise
            if not tries_left:
                # Said in another way it might stand there twice.
                raise ChannelUnreachableError("whether a stream has ended is not known") from throttled
        except ChannelUnreachableError:
            perhaps_ended = True
            if not tries_left:
                raise
        await asyncio.sleep(_BETWEEN_STREAM_END_TRIES)


def with_ai_label(
    activity: Json, channel: Channel, end: Answer | Failure, translate: Translator, *, last: bool
) -> Json:
    """The activity with the label and the buttons that belong to what a model wrote."""
    if not end.by_model:
        return activity
    if channel.ai_label and not activities.is_only_notes(activity["text"], end, translate):
        activity = activities.labelled(activity, end.citations if isinstance(end, Answer) else (), translate)
    return activities.with_feedback(activity) if channel.feedback and last and isinstance(end, Answer) else activity
