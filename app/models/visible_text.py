"""The part of a message's text that people see: without the model's thinking and the name of its agent."""

from __future__ import annotations

import enum

# Open models (DeepSeek, Qwen, Nova) write their thinking into the text, before the answer.
_THINKING = {"<think>": "</think>", "<thinking>": "</thinking>"}
# LangGraph supervisors on Databricks announce the agent that speaks next in a message of its own, and
# langgraph-supervisor's inline form wraps that agent's words as well.
_NAME, _NAME_END = "<name>", "</name>"
_CONTENT, _CONTENT_END = "<content>", "</content>"
_MAX_NAME_CHARACTERS = 100
_MAX_BLANK_CHARACTERS = 200


class _Part(enum.Enum):
    START = enum.auto()
    THINKING = enum.auto()
    NAME = enum.auto()
    AFTER_NAME = enum.auto()
    CONTENT = enum.auto()
    TEXT = enum.auto()


class VisibleText:
    """The text of one message after another, in pieces cut anywhere. Tags count only where a message begins.

    `drops_names` is for agents: a model's own answer may rightly begin with XML.
    """

    def __init__(self, *, drops_names: bool = False) -> None:
        self.drops_names = drops_names
        self._begin()

    def _begin(self) -> None:
        self._part = _Part.START
        self._held = ""
        self._closing = ""
        self._announcement = ""
        self._dropped_any = False

    @property
    def is_text(self) -> bool:
        """The rest of the message is shown as it comes."""
        return self._part is _Part.TEXT

    def add(self, piece: str) -> str:
        """What can be shown now."""
        if self._part is _Part.TEXT:
            return piece
        rest = self._held + piece
        self._held = ""
        while rest:
            match self._part:
                case _Part.START:
                    done, rest = self._start(rest)
                case _Part.THINKING:
                    done, rest = self._thinking(rest)
                case _Part.NAME:
                    done, rest = self._name(rest)
                case _Part.AFTER_NAME:
                    done, rest = self._after_name(rest)
                case _Part.CONTENT:
                    return self._content(rest)
                case _Part.TEXT:
                    return rest
            if done:
                return ""
        return ""

    def end_message(self) -> str:
        """What was held back and turned out to be text. The next piece begins another message."""
        held = self._held
        if self._part is _Part.THINKING or (held.isspace() and self._dropped_any):
            held = ""
        elif self._part is _Part.NAME:
            held = _NAME + held
        elif self._part is _Part.AFTER_NAME and held:
            held = self._announcement + held
        self._begin()
        return held

    def _hold(self, text: str) -> tuple[bool, str]:
        self._held = text
        return True, ""

    def _start(self, text: str) -> tuple[bool, str]:
        payload = text.lstrip()
        if not payload and len(text) < _MAX_BLANK_CHARACTERS:
            return self._hold(text)
        tags = (*_THINKING, _NAME) if self.drops_names else tuple(_THINKING)
        for tag in tags:
            if payload.startswith(tag):
                self._dropped_any = True
                self._part = _Part.NAME if tag == _NAME else _Part.THINKING
                self._closing = _THINKING.get(tag, "")
                return False, payload[len(tag) :]
            if payload and tag.startswith(payload):
                return self._hold(text)
        self._part = _Part.TEXT
        return False, payload if self._dropped_any else text

    def _thinking(self, text: str) -> tuple[bool, str]:
        end = text.find(self._closing)
        if end < 0:
            return self._hold(text[-(len(self._closing) - 1) :])
        self._part = _Part.START
        return False, text[end + len(self._closing) :]

    def _name(self, text: str) -> tuple[bool, str]:
        name = text.partition("<")[0]
        end = text[len(name) :][: len(_NAME_END)]
        if len(name) > _MAX_NAME_CHARACTERS or "\n" in name or not _NAME_END.startswith(end):
            self._part = _Part.TEXT
            return False, _NAME + text
        if end != _NAME_END:
            return self._hold(text)
        self._part = _Part.AFTER_NAME
        self._announcement = f"{_NAME}{name}{_NAME_END}"
        return False, text[len(name) + len(_NAME_END) :]

    def _after_name(self, text: str) -> tuple[bool, str]:
        payload = text.lstrip()
        if payload.startswith(_CONTENT):
            self._part = _Part.CONTENT
            return False, payload[len(_CONTENT) :]
        if (not payload and len(text) < _MAX_BLANK_CHARACTERS) or (payload and _CONTENT.startswith(payload)):
            return self._hold(text)
        self._part = _Part.TEXT
        # Another tag follows: this is XML that the person asked for.
        return False, self._announcement + text if payload.startswith("<") else payload

    def _content(self, text: str) -> str:
        end = text.find(_CONTENT_END)
        if end >= 0:
            self._part = _Part.TEXT
            return text[:end] + text[end + len(_CONTENT_END) :]
        kept = next(
            (size for size in range(len(_CONTENT_END) - 1, 0, -1) if text.endswith(_CONTENT_END[:size])),
            0,
        )
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]
