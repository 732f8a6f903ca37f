"""The tool calls of a turn and their results, so that a resumed turn neither asks the model for them again nor makes
them twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from app.common.caller import Caller
from app.content.citation import Citation
from app.models.model import ToolCall
from app.tools.base import ToolResult


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What somebody is asked to approve: the tool as it is now (`Tool.digest`), for whom, and until when, in seconds
    since 1970.
    """

    tool_digest: str
    asked_by: Caller
    expires_at: float


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """`result` is None until the call has ended. `started` is set before a tool runs that needs approval, which
    `approval` was asked for, or that is resumable.
    """

    call: ToolCall
    started: bool = False
    result: ToolResult | None = None
    approval: ApprovalRequest | None = None

    @property
    def is_pending(self) -> bool:
        return not self.started and self.result is None


@dataclass(frozen=True, slots=True)
class ToolStep:
    """One message of the model that called tools."""

    message: str
    calls: tuple[RecordedCall, ...]


@dataclass(frozen=True, slots=True)
class RecordedSteps:
    """`answer_text` is all of the answer's text up to the last step, shown or not: it begins with what was shown, or
    what was shown begins with it. `citations` are those of that text.
    """

    steps: tuple[ToolStep, ...] = ()
    answer_text: str = ""
    citations: tuple[Citation, ...] = ()


_VERSION = 1
NOTHING_RECORDED = RecordedSteps()


class ToolJournal(Protocol):
    """Where a turn's recorded steps are kept as text: in its row, or as an artifact that the row refers to.

    `Agent.answer` raises what these methods raise, except a `StorageError` of `save`: the attempt ends.
    """

    async def load(self) -> str:
        """What an earlier attempt of this turn saved last, "" if nothing."""
        ...

    async def save(self, recorded: str) -> None:
        """Replaces what was saved before, and returns once it is stored. Raises `StorageError` if it could not be: a
        resumed turn then repeats calls that only read, and no call is made that changes something.
        """
        ...


class JournalError(Exception):
    """`cause` was raised by the journal."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause


class JournalUnreadableError(ValueError):
    """Not the JSON of recorded steps, or that of a version that this one does not know."""


@cache
def _adapter() -> TypeAdapter[RecordedSteps]:
    # Built at first use: a turn without tools should not wait for it.
    return TypeAdapter(RecordedSteps)


def recorded_to_json(recorded: RecordedSteps) -> str:
    fields = {"v": _VERSION, **_adapter().dump_python(recorded, mode="json")}
    # ASCII, as a model may have written half a surrogate pair into its arguments.
    return json.dumps(fields, separators=(",", ":"))


def recorded_from_json(text: str) -> RecordedSteps:
    """Raises `JournalUnreadableError`. No text at all is nothing recorded."""
    if not text:
        return NOTHING_RECORDED
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict) or fields.pop("v", None) != _VERSION:
            raise JournalUnreadableError("of another version")
        return _adapter().validate_python(fields)
    except ValidationError as error:
        # Its own message quotes values, which people may have written.
        raise JournalUnreadableError(f"{error.error_count()} errors, first at {error.errors()[0]['loc']}") from None
    except JournalUnreadableError:
        raise
    except (ValueError, RecursionError) as error:
        raise JournalUnreadableError(type(error).__name__) from None
