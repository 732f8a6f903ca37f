"""The last words of a reply that streams: in the stream, by editing its message, or as messages of their own."""

from __future__ import annotations

from app.agent.events import Answer, Failure
from app.bot.channel import Channel
from app.bot.connector.send_errors import (
    ChannelUnreachableError,
    MessageTooLargeError,
    SendError,
    SendRefusedError,
    StreamAlreadyEndedError,
    StreamContentRefusedError,
    StreamNotAllowedError,
    StreamTimeLimitError,
    ThrottledError,
)
from app.bot.rendering import activities
from app.bot.rendering.markdown import utf16_units
from app.bot.rendering.split import split
from app.bot.replies.activity_sender import ActivitySender
from app.bot.replies.message_reply import Parts, UnsentParts, end_stream, with_ai_label
from app.bot.replies.stream import Stream
from app.bot.replies.stream_position import Phase
from app.bot.replies.streamed_text import StreamedText
from app.translation import Translator
from app.turns.checkpoint import Checkpoint


class StreamEnd:
    """`progress` is what another worker has left: `rest` of it is what that one had not certainly posted of an end."""

    def __init__(
        self,
        sender: ActivitySender,
        channel: Channel,
        stream: Stream,
        text: StreamedText,
        progress: Checkpoint,
        rest: UnsentParts,
        translate: Translator,
    ) -> None:
        self._sender = sender
        self._channel = channel
        self._stream = stream
        self._text = text
        self._perhaps_ended = progress.end is not None
        self._rest = rest
        self._translate = translate

    async def say(self, end: Answer | Failure, parts: Parts) -> None:
        """An end that goes into the stream, or into its message, has been kept by then; `parts` keeps what it posts."""
        text = activities.text_of(end, self._translate, self._channel.image_hosts)
        if self._rest.parts:
            await parts.post(self._rest.parts, perhaps_posted=self._rest.perhaps_posted)
        else:
            rest = await self._in_stream(end, text)
            if rest is None:
                rest = await self._by_editing(end, text)
            if rest is None:
                rest = self._text.unsettled(end.text, text, self._translate(activities.THAT_WAS_ALL))
            await parts.post(rest)
        self._text.shown = end.text

    async def _in_stream(self, end: Answer | Failure, text: str) -> list[str] | None:
        """The parts that did not fit into the stream's message; None if the stream does not take the end."""
        stream = self._stream
        if stream.phase is not Phase.STREAMING or stream.id is None:
            return None
        limit, streamed = stream.limit or self._channel.text_limit, self._text.rendered(self._text.streamed)
        try:
            try:
                first, *rest = split(text, limit, at_least=len(streamed))
                await self._close(stream.id, self._dressed(end, first, last=not rest))
            except MessageTooLargeError:
                stream.limit = max(limit // 2, utf16_units(streamed) + 10)
                await stream.note()
                first, *rest = split(text, stream.limit, at_least=len(streamed))
                await self._close(stream.id, self._dressed(end, first, last=not rest))
        except StreamAlreadyEndedError:
            self._text.was_closed()
            stream.is_over()
        except StreamTimeLimitError:
            stream.is_over()
        except (StreamNotAllowedError, StreamContentRefusedError, MessageTooLargeError, SendRefusedError):
            stream.phase = Phase.WAITING
        else:
            return rest
        return None

    async def _close(self, stream_id: str, activity: activities.Json) -> None:
        await end_stream(self._sender, stream_id, activity, perhaps_ended=self._perhaps_ended)

    async def _by_editing(self, end: Answer | Failure, text: str) -> list[str] | None:
        if self._stream.phase is not Phase.EDITING or self._stream.id is None:
            return None
        first, *rest = split(text, self._channel.text_limit)
        try:
            await self._sender.update(self._stream.id, self._dressed(end, first, last=not rest))
        except (ChannelUnreachableError, ThrottledError):
            raise
        except SendError:
            # A message that cannot be edited any more must not cost the person the answer.
            return None
        return rest

    def _dressed(self, end: Answer | Failure, text: str, *, last: bool) -> activities.Json:
        return with_ai_label(activities.message(text), self._channel, end, self._translate, last=last)
