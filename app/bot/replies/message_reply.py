"""A reply of whole messages: typing while the model works, then the answer in one or more messages."""

from __future__ import annotations

from collections.abc import Callable

from app.agent.events import End, Event
from app.bot.channel import Channel
from app.bot.connector.send_errors import ChannelUnreachableError, ThrottledError
from app.bot.rendering.rendered_end import RenderedEnd
from app.bot.rendering.split import split
from app.bot.replies.activity_sender import ActivitySender
from app.bot.replies.parts_delivery import PartsDelivery, UnsentParts
from app.bot.replies.typing_indicator import TypingIndicator
from app.translation import ENGLISH, Translator
from app.turns.checkpoint import Checkpoint
from app.turns.reply import SaveCheckpoint, UndeliveredError, discard_checkpoint

NO_CHECKPOINT = Checkpoint()


class MessageReply:
    """Continues from `checkpoint`, which another worker may have left."""

    def __init__(
        self,
        sender: ActivitySender,
        channel: Channel,
        checkpoint: Checkpoint = NO_CHECKPOINT,
        *,
        translate: Translator = ENGLISH,
    ) -> None:
        self._sender = sender
        self._channel = channel
        self._translate = translate
        self._unsent = UnsentParts.of(checkpoint)
        self._save_checkpoint: SaveCheckpoint = discard_checkpoint
        self._typing = TypingIndicator(sender)
        self._end: End | None = None

        self.activity_id: str | None = None

    stopped = False
    shown = ""

    def when_stopped(self, stop: Callable[[], object]) -> None:
        """There is no Stop button where nothing streams."""

    async def begin(self, save_checkpoint: SaveCheckpoint = discard_checkpoint, /) -> None:
        self._save_checkpoint = save_checkpoint
        if self._channel.typing:
            self._typing.start()

    async def write(self, event: Event) -> None:
        if isinstance(event, End):
            self._end = event

    async def finish(self) -> None:
        await self.abandon()
        if self._end is None:
            return
        rendered = RenderedEnd(self._end, self._channel, self._translate)
        unsent = (
            self._unsent
            if self._unsent.parts
            else UnsentParts(tuple(split(rendered.text, self._channel.text_limit_utf16)))
        )
        try:
            delivery = PartsDelivery(self._sender, rendered, self._save_checkpoint)
            self.activity_id = await delivery.deliver(unsent)
        except (ChannelUnreachableError, ThrottledError) as failure:
            raise UndeliveredError(type(failure).__name__) from failure

    async def abandon(self) -> None:
        await self._typing.stop()
