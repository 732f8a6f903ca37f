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
# Characters of a part, above which its place is shorter to write.
_WORTH_IT = 20
_ENDS: dict[str, TypeAdapter[Any]] = {"answer": TypeAdapter(Answer), "failure": TypeAdapter(Failure)}


@dataclass(frozen=True, slots=True)
class Progress:
    """`text` is the part of the answer that the person may have seen; `place`, the reply's own, says where it goes on;
    `end` is what is being said last.
    """

    text: str = ""
    place: dict[str, Any] = field(default_factory=dict)
    end: Answer | Failure | None = None

    @property
    def begun(self) -> bool:
        return bool(self.text or self.place or self.end)

    def written(self, most: int) -> str:
        """In `most` characters: an end that does not fit is left out, and another worker asks the model again."""
        fields: dict[str, Any] = {"text": self.text, "place": self.place}
        if self.end is not None:
            kind = "answer" if isinstance(self.end, Answer) else "failure"
            fields[kind] = _ENDS[kind].dump_python(self.end, mode="json")
            if self.end.text.startswith(self.text):
                fields["text"] = len(self.text)
            fields["place"] = {name: _referring(value, self.end.text) for name, value in self.place.items()}
        written = _json(fields)
        if len(written) <= most:
            return written
        packed = _PACKED + base64.b85encode(zlib.compress(written.encode("utf-8", "replace"))).decode()
        if len(packed) <= most:
            return packed
        return _json({"text": self.text, "place": {name: self.place[name] for name in self.place if name != "rest"}})


def _referring(value: Any, text: str) -> Any:  # noqa: ANN401 - whatever a reply keeps
    """Where a list holds parts of `text`, their places stand for them: a long answer is not in the row twice."""
    if not isinstance(value, list):
        return value
    return [_place_in(text, part) if isinstance(part, str) else part for part in value]


def _place_in(text: str, part: str) -> str | list[int]:
    start = text.find(part) if len(part) > _WORTH_IT else -1
    return part if start < 0 else [start, len(part)]


def _resolved(value: Any, text: str) -> Any:  # noqa: ANN401
    if not isinstance(value, list):
        return value
    return [text[part[0] : part[0] + part[1]] if isinstance(part, list) else part for part in value]


def _json(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def read_progress(written: str) -> Progress:
    """What another version has written in another way counts as nothing: the turn begins afresh."""
    if not written:
        return Progress()
    try:
        if written.startswith(_PACKED):
            written = zlib.decompress(base64.b85decode(written.removeprefix(_PACKED))).decode()
        fields = json.loads(written)
        ends = [adapter.validate_python(fields[kind]) for kind, adapter in _ENDS.items() if kind in fields]
        end = ends[0] if ends else None
        text = end.text[: fields["text"]] if end is not None and isinstance(fields["text"], int) else fields["text"]
        whole = end.text if end is not None else ""
        place = {name: _resolved(value, whole) for name, value in dict(fields["place"]).items()}
        return Progress(str(text), place, end)
    except (zlib.error, ValueError, TypeError, KeyError, IndexError, ValidationError) as error:
        _log.warning("The progress of a turn cannot be read (%s); it begins afresh", type(error).__name__)
        return Progress()
