"""Agents that use tools often repeat after a tool call what they wrote before it: it is shown once."""

from __future__ import annotations

_SENTENCE_END = (".", "!", "?", ":", "…")
_SENTENCE_END_WITHOUT_SPACE = ("。", "！", "？", "：")
# Shorter beginnings, such as "Yes.", are too likely to be meant.
_MIN_BEGINNING_CHARACTERS = 8
_MAX_BLANK_CHARACTERS = 200
_MAX_EARLIER_MESSAGES = 50


class RepeatedText:
    """Text of one message after another, in pieces cut anywhere. After a tool call, a message that repeats an earlier
    one is left out; so is its beginning, if that repeats a whole earlier message which ends with a sentence."""

    def __init__(self) -> None:
        self._earlier: list[str] = []
        self._message: list[str] = []
        self._tool_called = False
        self._held: list[str] | None = None
        self._length = 0
        self._repeated = 0
        self._candidates: list[str] = []

    def keep(self, piece: str) -> None:
        """More of a message of which something was shown."""
        self._message.append(piece)

    def add(self, piece: str) -> str:
        """What can be shown now."""
        if self._held is None:
            if self._message or not self._tool_called:
                self._message.append(piece)
                return piece
            self._held = []
            self._length = self._repeated = 0
            self._candidates = list(self._earlier)
        self._compare(piece if self._held else piece.lstrip())
        return "" if self._candidates else self._release()

    def end_message(self) -> str:
        """What was held back and is no repetition. The next piece begins another message."""
        shown = ""
        if self._held is not None:
            whole = [len(candidate) for candidate in self._candidates if len(candidate) <= self._length]
            self._repeated = max(self._repeated, *whole) if whole else self._repeated
            shown = self._release()
        message = "".join(self._message).strip()
        self._message = []
        if message and message not in self._earlier:
            self._earlier = [*self._earlier[1 - _MAX_EARLIER_MESSAGES :], message]
        return shown

    def tool_called(self) -> str:
        """As `end_message`; what follows may repeat what was written before."""
        shown = self.end_message()
        self._tool_called = bool(self._earlier)
        return shown

    def _compare(self, piece: str) -> None:
        assert self._held is not None
        if not piece:
            return
        self._held.append(piece)
        alive = []
        for candidate in self._candidates:
            rest = candidate[self._length : self._length + len(piece)]
            if not piece.startswith(rest):
                continue
            more = "".join(self._held)[len(candidate) :] if len(rest) < len(piece) else ""
            if not more.strip() and len(more) < _MAX_BLANK_CHARACTERS:
                alive.append(candidate)
            elif _is_beginning(candidate, more):
                self._repeated = max(self._repeated, len(candidate))
        self._length += len(piece)
        self._candidates = alive

    def _release(self) -> str:
        text = "".join(self._held or ())
        if self._repeated:
            text = text[self._repeated :].lstrip()
        self._held = None
        self._candidates = []
        if text:
            self._message.append(text)
        return text


def _is_beginning(earlier: str, more: str) -> bool:
    if len(earlier) < _MIN_BEGINNING_CHARACTERS:
        return False
    return (
        more.startswith("\n")
        or earlier.endswith(_SENTENCE_END_WITHOUT_SPACE)
        or (earlier.endswith(_SENTENCE_END) and more[:1].isspace())
    )
