"""What a turn has come to so far, for the worker that may have to go on with it."""

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
# Characters of a part, above which its place is shorter to write.
_WORTH_IT = 20
_ENDS: dict[str, TypeAdapter[Any]] = {"answer": TypeAdapter(Answer), "failure": TypeAdapter(Failure)}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`text` is the part of the answer that the person may have seen; `place`, the reply's own, says where it goes on;
    `end` is what is being said last.
    """

    text: str = ""
    reply_state: dict[str, Any] = field(default_factory=dict)
    end: Answer | Failure | None = None

    @property
    def payload(self) -> bool:
        return bool(self.text or self.reply_state or self.end)

    def written(self, most: int) -> str:
        """In `most` characters: an end that does not fit is left out, and another worker asks the model again."""
        fields: dict[str, Any] = {"text": self.text, "place": self.reply_state}
        if self.end is not None:
            kind = "answer" if isinstance(self.end, Answer) else "failure"
            fields[kind] = _ENDS[kind].dump_python(self.end, mode="json")
            if self.end.text.startswith(self.text):
                fields["text"] = len(self.text)
            references = {
                name: _referring(value, self.end.text) for name, value in self.reply_state.items() if _is_text(value)
            }
            if references:
                # Beside the place: an older version would take a reference for a text.
                fields |= {
                    "place": {k: v for k, v in self.reply_state.items() if k not in references},
                    _REFERENCES: references,
                }
        written = _json(fields)
        if len(written) <= most:
            return written
        packed = _PACKED + base64.b85encode(zlib.compress(written.encode("utf-8", "replace"))).decode()
        if len(packed) <= most:
            return packed
        return _json(
            {"text": self.text, "place": {name: self.reply_state[name] for name in self.reply_state if name != "rest"}}
        )


def _is_text(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)


def _referring(parts: list[str], text: str) -> list[str | list[int]]:
    """Where a list holds parts of `text`, their places stand for them: a long answer is not in the row twice."""
    return [_place_in(text, part) for part in parts]


def _place_in(text: str, part: str) -> str | list[int]:
    start = text.find(part) if len(part) > _WORTH_IT else -1
    return part if start < 0 else [start, len(part)]


def _resolved(parts: list[Any], text: str) -> list[str]:
    return [text[part[0] : part[0] + part[1]] if isinstance(part, list) else str(part) for part in parts]


def _json(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def parse_checkpoint(written: str) -> Checkpoint:
    """What another version has written in another way counts as nothing: the turn begins afresh."""
    if not written:
        return Checkpoint()
    try:
        if written.startswith(_PACKED):
            written = zlib.decompress(base64.b85decode(written.removeprefix(_PACKED))).decode()
        fields = json.loads(written)
        ends = [adapter.validate_python(fields[kind]) for kind, adapter in _ENDS.items() if kind in fields]
        end = ends[0] if ends else None
        text = end.text[: fields["text"]] if end is not None and isinstance(fields["text"], int) else fields["text"]
        whole = end.text if end is not None else ""
        texts = {name: _resolved(parts, whole) for name, parts in fields.get(_REFERENCES, {}).items()}
        return Checkpoint(str(text), {**fields["place"], **texts}, end)
    except (zlib.error, ValueError, TypeError, KeyError, IndexError, AttributeError, ValidationError) as error:
        _log.warning("The progress of a turn cannot be read (%s); it begins afresh", type(error).__name__)
        return Checkpoint()
