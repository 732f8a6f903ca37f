"""The text of an answer that streams: what was said, what may have been sent, what has arrived. Pure.

It holds the model's words; they are rendered when they are sent.
"""

from __future__ import annotations

from app.bot.rendering.markdown import end_of, render, streamable_prefix, utf16_units
from app.bot.rendering.split import split

# Beyond this share of the size limit nothing more is streamed: the final message needs room to close what is open.
_STREAMED_SHARE = 0.9


class StreamedText:
    """`text_limit_utf16` in UTF-16 code units. Another worker may have sent `text`, of which `shown` characters have
    certainly arrived, and `settled` characters stand in a closed message.
    """

    def __init__(
        self, text: str, shown: int, settled: int, text_limit_utf16: int, image_hosts: frozenset[str] = frozenset()
    ) -> None:
        self._parts = [text]
        self._text_limit = text_limit_utf16
        self._image_hosts = image_hosts
        self._perhaps_sent_before = text
        self.attempted = text
        """The longest text that may have been sent; `shown` is what has arrived of it."""
        self.shown = text[:shown]
        self.settled = settled
        self.frozen = False
        """Nothing more is shown before the end."""

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
        """What the end has to begin with."""
        return self.shown if self.frozen else self.attempted

    def showable(self) -> str:
        """Never less than what was sent before: the channel refuses an update that does not begin with it."""
        if self.frozen:
            return self.streamed
        text = streamable_prefix(self.said)
        too_long = utf16_units(self.rendered(text)) > self._text_limit * _STREAMED_SHARE
        return self.streamed if too_long or len(text) < len(self.attempted) else text

    def shown_by_another_worker(self) -> None:
        """It closed the stream with all that it may have sent, and could not save that it had."""
        if len(self._perhaps_sent_before) > len(self.shown):
            self.shown = self._perhaps_sent_before

    def settle(self) -> None:
        self.settled = len(self.shown)

    def unsettled(self, said: str, text: str, that_was_all: str) -> list[str]:
        """The parts of `text`, the rendered end, that stand in no message yet; `that_was_all` if there are none.

        `said` is the unrendered text that it begins with.
        """
        settled = self.rendered(said[: self.settled])
        rest = text[len(settled) :].lstrip("\n")
        if settled and not rest.strip("\n `~"):
            return [that_was_all]
        return split(end_of(settled).opening + rest, self._text_limit)
