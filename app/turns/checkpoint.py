"""How far a turn has come, for the worker that may have to continue it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from app.agent.events import Answer, Failure
from app.common.caller import UNKNOWN_CALLER, Caller


class CheckpointUnreadableError(ValueError):
    """Not the JSON of a checkpoint, or that of a version that this one does not know."""


@dataclass(frozen=True, slots=True)
class Suspension:
    """What a suspended turn waits for, and who asked; the rest is what its queue message needs when it continues.

    `expires_at` is in seconds since 1970.
    """

    waiting_for: str
    kind: str
    traceparent: str | None = None
    asked_by: Caller = UNKNOWN_CALLER
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`text` is the part of the answer that the person may have seen; `reply_state`, the reply's own, says where it
    continues; `end` is what is being said last.

    `journal` is what the agent recorded of its tool calls; a long one is an artifact, which `journal_artifact` names.
    `approvals` are the decisions that people have made so far, by what they were asked. `earlier_text` is what was
    answered before the turn was suspended, in other messages.
    """

    text: str = ""
    reply_state: dict[str, Any] = field(default_factory=dict)
    end: Answer | Failure | None = None
    journal: str = ""
    journal_artifact: str = ""
    approvals: Mapping[str, bool] = field(default_factory=dict)
    earlier_text: str = ""
    suspension: Suspension | None = None

    def to_json(self) -> str:
        row = _Row(
            v=1,
            text=self.text,
            reply_state=self.reply_state,
            answer=self.end if isinstance(self.end, Answer) else None,
            failure=self.end if isinstance(self.end, Failure) else None,
            journal=self.journal,
            journal_artifact=self.journal_artifact,
            approvals=dict(self.approvals),
            earlier_text=self.earlier_text,
            suspension=self.suspension,
        )
        return json.dumps(row.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Checkpoint:
        """Raises `CheckpointUnreadableError`. No text at all is a turn that has shown nothing."""
        if not text:
            return cls()
        try:
            row = _Row.model_validate(json.loads(text))
        except ValidationError as error:
            # Its own message quotes values, which people may have written.
            raise CheckpointUnreadableError(f"{error.error_count()} errors") from None
        except (ValueError, RecursionError) as error:
            raise CheckpointUnreadableError(type(error).__name__) from None
        end = row.answer or row.failure
        return cls(
            row.text,
            row.reply_state,
            end,
            row.journal,
            row.journal_artifact,
            row.approvals,
            row.earlier_text,
            row.suspension,
        )


def joined_text(earlier: str, text: str) -> str:
    """The answer of a turn that was suspended after `earlier`."""
    return "\n\n".join(part for part in (earlier, text) if part.strip())


NO_CHECKPOINT = Checkpoint()


class _Row(BaseModel):
    # Built at first use: the first answer of a worker should not wait for it.
    model_config = ConfigDict(defer_build=True, hide_input_in_errors=True)

    v: Literal[1]
    text: str = ""
    reply_state: dict[str, Any] = {}
    answer: Answer | None = None
    failure: Failure | None = None
    journal: str = ""
    journal_artifact: str = ""
    approvals: dict[str, bool] = {}
    earlier_text: str = ""
    suspension: Suspension | None = None
