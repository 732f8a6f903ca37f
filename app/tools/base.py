"""What a tool is: arguments and context in, output out. Knows no channel and no model."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, model_validator

from app.common.caller import Caller
from app.common.cancellation import Cancellation
from app.common.identity import RequestIdentity
from app.content.block_json import Blocks
from app.content.feedback_target import FeedbackTarget
from app.models.model import Source, ToolDefinition
from app.storage.conversations import ConversationKey
from app.tools.foreign_schema import acceptable_schema
from app.tools.schema import argument_schema
from app.translation import Sentence, Translator, translator_for

_NAME = re.compile("[A-Za-z0-9_-]{1,64}")
SEEN_AS_TABLE = "; the person sees the result as a table and chart"
"""Part of a tool's description, to be left out where no person sees blocks."""


class ToolError(Exception):
    """The tool could not do what was asked. `str()` is told to the model, so that it can try otherwise; `sentence` to a
    person who called the tool by a button, in their language.
    """

    def __init__(self, message: str, *, sentence: str = "") -> None:
        super().__init__(message)
        self.sentence = sentence


class ToolArguments(BaseModel):
    """Base of a tool's arguments. Each field's type, default and `Field(description=…)` are told to the model; an
    argument that is not among them is refused, since it would change nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: object) -> object:
        """Some clients and models write null for what they leave out: https://github.com/langflow-ai/langflow/issues/8059"""
        if not isinstance(given, dict):
            return given
        optional = {name for name, each in cls.model_fields.items() if not each.is_required()}
        return {name: value for name, value in given.items() if value is not None or name not in optional}


class RawArguments(ToolArguments):
    """Arguments as the model wrote them, of a tool that brings its own `schema`: whoever runs the tool checks them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def values(self) -> Mapping[str, Any]:
        return self.__pydantic_extra__ or {}


class Effect(StrEnum):
    READ_ONLY = "read_only"
    """Changes nothing anywhere: may run again, and beside others."""
    NEEDS_APPROVAL = "needs_approval"
    """Changes something: runs once, after a person has approved this call."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool knows of the turn that calls it.

    `identity` is as whom Databricks is asked. `progress` shows one short line to the person, in their language.
    `cancellation` says why the tool's task was cancelled, None if its own time is over. `idempotency_key`, of at most
    64 characters, is the same when a resumed turn makes the same call again, and that of no other call. `deadline` is
    the end of the tool's time, on the event loop's clock. `shows_chart_images`: charts are not drawn for this person,
    but images of them are shown. Where the question `is_scheduled`, nobody waits for its answer. Where `shows_blocks`
    is false, `ToolOutput.text` is all that anybody gets.
    """

    conversation: ConversationKey
    caller: Caller
    identity: RequestIdentity
    locale: str
    cancellation: Cancellation
    idempotency_key: str
    progress: Callable[[str], None] = lambda _: None
    deadline: float = math.inf
    shows_chart_images: bool = False
    is_scheduled: bool = False
    shows_blocks: bool = True

    @property
    def translate(self) -> Translator:
        return translator_for(self.locale)

    def seconds_left(self) -> float:
        return max(0.0, self.deadline - asyncio.get_running_loop().time())


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """`text` is for the model; the person sees `blocks`, and one who called the tool by a button `sentence`, in their
    language. `citations` are numbered by the agent, which tells the model their numbers. `feedback_targets` is where a
    rating of the answer counts too.
    """

    text: str
    blocks: Blocks = ()
    citations: tuple[Source, ...] = ()
    sentence: str = ""
    feedback_targets: tuple[FeedbackTarget, ...] = ()


A = TypeVar("A", bound=ToolArguments)


@dataclass(frozen=True, slots=True)
class Tool(Generic[A]):
    """`run` raises `ToolError` for what the model should know. When it is cancelled, it has to end within two seconds.

    `name` and `description` are read by the model, `title` by people: in the progress of a turn, in approvals and in
    `/tools`; a `Sentence` is translated. `schema`, of a tool of others, is told to the model in place of that of
    `arguments`, as far as every endpoint accepts it. A tool that is not `offered` is called by buttons alone
    (`app.messaging.actions.call_button`): the model does not know it. One that `needs_conversation` uses what earlier
    calls have left there, and is of no use where each call is for itself, as over MCP.

    A call of a tool that `is_resumable` is recorded before it is made, and made again under the same idempotency key by
    a worker that resumes the turn, whatever its effect: the tool goes on with what was begun and begins nothing twice.
    """

    name: str
    description: str
    arguments: type[A]
    run: Callable[[A, ToolContext], Awaitable[ToolOutput]]
    effect: Effect
    timeout_seconds: float = 30.0
    title: Sentence | str = ""
    schema: Mapping[str, Any] | None = None
    offered: bool = True
    needs_conversation: bool = False
    is_resumable: bool = False
    definition: ToolDefinition = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"endpoints take no tool of the name {self.name!r}")
        schema = argument_schema(self.arguments) if self.schema is None else acceptable_schema(self.schema)
        object.__setattr__(self, "definition", ToolDefinition(self.name, self.description, schema))

    def title_in(self, translate: Translator) -> str:
        return translate(self.title) if isinstance(self.title, Sentence) else self.title or self.name

    @property
    def digest(self) -> str:
        """Another one when the description or the schema has changed: then an approval is no longer for this tool."""
        text = json.dumps([self.definition.function, self.schema], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class UnavailableTools:
    """Tools that there should be: `name` is what people know them by, `reason` what became of them."""

    name: str
    reason: Sentence


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What became of a call: the output of a tool, or in `text` why there is none.

    `is_untrusted`: the text came from outside, and is marked as data when the model is given it. `sentence` and
    `feedback_targets` as in `ToolOutput` and `ToolError`.
    """

    text: str
    succeeded: bool
    blocks: Blocks = ()
    citations: tuple[Source, ...] = ()
    is_untrusted: bool = False
    sentence: str = ""
    feedback_targets: tuple[FeedbackTarget, ...] = ()


AnyTool = Tool[Any]
