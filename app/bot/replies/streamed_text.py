"""The text of an answer that streams: what was said, what may have been sent, what has arrived. Pure.

It is kept as it was said, and rendered when it is sent.
"""

from __future__ import annotations

from app.bot.rendering.markdown import end_of, render, streamable_prefix, utf16_units
from app.bot.rendering.split import split
from app.bot.replies.stream_position import StreamPosition

# Beyond this share of the size limit nothing more is streamed: the final message needs room to close what is open.
_STREAMED_SHARE = 0.9


class StreamedText:
    """`text_limit` in UTF-16 code units. `text` is what another worker may have sent of the answer."""

    def __init__(
        self, text: str, reply_state: StreamPosition, text_limit: int, image_hosts: frozenset[str] = frozenset()
    ) -> None:
        self._parts = [text]
        self._text_limit = text_limit
        self._image_hosts = image_hosts
        self._found = text
        self.attempted = text
        """The longest text sent; not what was shown if nobody knows whether it arrived."""
        self.shown = text[: reply_state.shown]
        self.frozen = False
        """Nothing more is shown before the end."""
        self.settled = reply_state.settled
        """How much of it stands in a closed message."""

    def add(self, text: str) -> None:
        self._parts.append(text)

    @property
    def said(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0]

    def rendered(self, text: str) -> str:
        return render(text, self._image_hosts)

    @property
    def streamed(self) -> str:
        return self.shown if self.frozen else self.attempted

    def showable(self) -> str:
        """Never less than what was sent before: the channel refuses an update that does not begin with it."""
        if self.frozen:
            return self.streamed
        text = streamable_prefix(self.said)
        too_long = utf16_units(self.rendered(text)) > self._text_limit * _STREAMED_SHARE
        return self.streamed if too_long or len(text) < len(self.attempted) else text

    def was_closed(self) -> None:
        """Another worker has closed the message before it could say so: with all that it may have sent."""
        if len(self._found) > len(self.shown):
            self.shown = self._found

    def settle(self) -> None:
        self.settled = len(self.shown)

    def unsettled(self, said: str, text: str, that_was_all: str) -> list[str]:
        """The parts of `text`, which begins with what was `said` as it is rendered, that stand in no message yet.

        Where all of it does, `that_was_all`.
        """
        settled = self.rendered(said[: self.settled])
        rest = text[len(settled) :].lstrip("\n")
        if settled and not rest.strip("\n `~"):
            return [that_was_all]
        return split(end_of(settled).opening + rest, self._text_limit)
