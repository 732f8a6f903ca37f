"""What a turn has come to so far, for the worker that may have to go on with it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.agent.events import Answer, Failure

_log = logging.getLogger(__name__)

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

    def written(self) -> str:
        fields: dict[str, Any] = {"text": self.text, "place": self.place}
        if self.end is not None:
            kind = "answer" if isinstance(self.end, Answer) else "failure"
            fields[kind] = _ENDS[kind].dump_python(self.end, mode="json")
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def read_progress(written: str) -> Progress:
    """What another version has written in another way counts as nothing: the turn begins afresh."""
    if not written:
        return Progress()
    try:
        fields = json.loads(written)
        ends = [adapter.validate_python(fields[kind]) for kind, adapter in _ENDS.items() if kind in fields]
        return Progress(str(fields["text"]), dict(fields["place"]), ends[0] if ends else None)
    except (ValueError, TypeError, KeyError, ValidationError) as error:
        _log.warning("The progress of a turn cannot be read (%s); it begins afresh", type(error).__name__)
        return Progress()
