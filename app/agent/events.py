"""What happens while a turn is answered. Meaning only: how it is shown is the reply's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.content.block_json import Blocks
from app.content.citation import Citation
from app.content.feedback_target import FeedbackTarget
from app.models.model import Usage

if TYPE_CHECKING:
    from app.content.blocks import Block

_MARK = "\ufdd0"


def interruption(note: str) -> str:
    """Marks the place in an answer's text from which another attempt continued it; an answer has one such mark at most.

    `note` is for the person: a reply shows it after closing open Markdown. History and model get the text without it.
    """
    return f"{_MARK}{note}{_MARK}"


def interrupted(text: str) -> tuple[str, str, str] | None:
    """The text before the interruption, its note, and the text after it; None for an answer without one."""
    before, mark, rest = text.partition(_MARK)
    note, _, after = rest.partition(_MARK)
    return (before, note, after) if mark else None


def without_interruption(text: str) -> str:
    """The text as the model wrote it."""
    before, _, after = interrupted(text) or (text, "", "")
    return before + after.replace(_MARK, "")


@dataclass(frozen=True, slots=True)
class Status:
    """One short line about what is being done now."""

    text: str


@dataclass(frozen=True, slots=True)
class TextAdded:
    """More of the answer. `by_model` is False for a notice of the program's own."""

    text: str
    by_model: bool = True


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """`title` says to the person what is done; "" for a tool without one."""

    call_id: str
    name: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class ToolFinished:
    call_id: str
    name: str
    succeeded: bool


@dataclass(frozen=True, slots=True)
class BlockAdded:
    """A table, a chart: shown below the text when the answer ends, in the order of these events."""

    block: Block


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a turn that was answered. `text` is the whole answer as Markdown: all `TextAdded` joined; `blocks` are
    those of all `BlockAdded`.

    `by_model` is False where all of it is the program's own (commands, notices): it bears no AI label. `truncated`
    says that the model reached its length limit. `feedback_targets` is where a rating of it counts. `usage` is of all
    requests to the model in this attempt, as far as the endpoint told it.
    """

    text: str
    citations: tuple[Citation, ...] = ()
    by_model: bool = True
    truncated: bool = False
    blocks: Blocks = ()
    feedback_targets: tuple[FeedbackTarget, ...] = ()
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The end of a turn that failed. `text` and `blocks` are what was answered before it, `by_model` as in `Answer`;
    `sentence` is what the person can do. `error_type` names the exception's class, for hosts that say it otherwise.
    """

    sentence: str
    error_id: str
    text: str = ""
    by_model: bool = True
    blocks: Blocks = ()
    error_type: str = ""


@dataclass(frozen=True, slots=True)
class Suspended:
    """The end of an attempt whose turn continues after a decision (an approval, a sign-in).

    `waiting_for` is the id of that decision. `sentence` is what the person is asked; `blocks` has
    what they can answer with, after those that were added before. `text` and `by_model` as in `Failure`. After
    `expires_at`, in seconds since 1970, it can no longer be decided. `title` and `arguments`, a JSON object, are of
    the tool that waits to be called.
    """

    waiting_for: str
    sentence: str
    text: str = ""
    by_model: bool = True
    blocks: Blocks = ()
    expires_at: float | None = None
    title: str = ""
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class ResponsesEvent:
    """An event of an agent that speaks the Responses API itself, such as the agent server: its reply shows them."""

    value: Mapping[str, Any]


End = Answer | Failure | Suspended
Event = Status | TextAdded | BlockAdded | ToolStarted | ToolFinished | Citation | ResponsesEvent | End
