"""How far a turn has come, for the worker that may have to continue it."""

from __future__ import annotations

import base64
import json
import logging
import zlib
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.agent.events import Answer, Failure

_log = logging.getLogger(__name__)

_PACKED = "zlib:"
_REFERENCES = "texts"
# Characters of a part, above which its position is shorter to write.
_MIN_REFERRED_CHARACTERS = 20
_ENDS: dict[str, TypeAdapter[Any]] = {"answer": TypeAdapter(Answer), "failure": TypeAdapter(Failure)}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`text` is the part of the answer that the person may have seen; `reply_state`, the reply's own, says where it
    continues; `end` is what is being said last.
    """

    text: str = ""
    reply_state: dict[str, Any] = field(default_factory=dict)
    end: Answer | Failure | None = None

    def to_json(self, max_characters: int) -> str:
        """An end that does not fit is left out: then another worker asks the model again."""
        fields: dict[str, Any] = {"text": self.text, "reply_state": self.reply_state}
        if self.end is not None:
            kind = "answer" if isinstance(self.end, Answer) else "failure"
            fields[kind] = _ENDS[kind].dump_python(self.end, mode="json")
            if self.end.text.startswith(self.text):
                fields["text"] = len(self.text)
            references = {
                name: _referring(value, self.end.text) for name, value in self.reply_state.items() if _is_text(value)
            }
            if references:
                # Beside the reply's state: an older version would take a reference for a text.
                fields |= {
                    "reply_state": {k: v for k, v in self.reply_state.items() if k not in references},
                    _REFERENCES: references,
                }
        written = _json(fields)
        if len(written) <= max_characters:
            return written
        packed = _PACKED + base64.b85encode(zlib.compress(written.encode("utf-8", "replace"))).decode()
        if len(packed) <= max_characters:
            return packed
        without_rest = {name: self.reply_state[name] for name in self.reply_state if name != "rest"}
        return _json({"text": self.text, "reply_state": without_rest})

    @classmethod
    def from_json(cls, written: str) -> Checkpoint:
        """What another version has written in another way counts as nothing: the turn begins again."""
        if not written:
            return cls()
        try:
            if written.startswith(_PACKED):
                written = zlib.decompress(base64.b85decode(written.removeprefix(_PACKED))).decode()
            fields = json.loads(written)
            ends = [adapter.validate_python(fields[kind]) for kind, adapter in _ENDS.items() if kind in fields]
            end = ends[0] if ends else None
            text = end.text[: fields["text"]] if end is not None and isinstance(fields["text"], int) else fields["text"]
            whole = end.text if end is not None else ""
            texts = {name: _resolved(parts, whole) for name, parts in fields.get(_REFERENCES, {}).items()}
            return cls(str(text), {**fields["reply_state"], **texts}, end)
        except (zlib.error, ValueError, TypeError, KeyError, IndexError, AttributeError, ValidationError) as error:
            _log.warning("The checkpoint of a turn cannot be read (%s); the turn begins again", type(error).__name__)
            return cls()


def _is_text(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)


def _referring(parts: list[str], text: str) -> list[str | list[int]]:
    """Where a list holds parts of `text`, their positions stand for them: a long answer is not in the row twice."""
    return [_position_in(text, part) for part in parts]


def _position_in(text: str, part: str) -> str | list[int]:
    start = text.find(part) if len(part) > _MIN_REFERRED_CHARACTERS else -1
    return part if start < 0 else [start, len(part)]


def _resolved(parts: list[Any], text: str) -> list[str]:
    return [text[part[0] : part[0] + part[1]] if isinstance(part, list) else str(part) for part in parts]


def _json(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
