"""What a tool is: arguments and context in, output out. Knows no channel and no model."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from app.common.caller import Caller
from app.common.cancellation import Cancellation
from app.common.identity import RequestIdentity
from app.content.block_json import Blocks
from app.models.model import Source, ToolDefinition
from app.storage.conversations import ConversationKey
from app.tools.schema import argument_schema
from app.translation import Translator, translator_for

_NAME = re.compile("[A-Za-z0-9_-]{1,64}")


class ToolError(Exception):
    """The tool could not do what was asked. `str()` is told to the model, so that it can try otherwise."""


class ToolArguments(BaseModel):
    """Base of a tool's arguments. Each field's type, default and `Field(description=…)` are told to the model; an
    argument that is not among them is refused, since it would change nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    the end of the tool's time, on the event loop's clock.
    """

    conversation: ConversationKey
    caller: Caller
    identity: RequestIdentity
    locale: str
    cancellation: Cancellation
    idempotency_key: str
    progress: Callable[[str], None] = lambda _: None
    deadline: float = math.inf

    @property
    def translate(self) -> Translator:
        return translator_for(self.locale)

    def seconds_left(self) -> float:
        return max(0.0, self.deadline - asyncio.get_running_loop().time())


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """`text` is for the model; the person sees `blocks`. `citations` are numbered by the agent, which tells the model
    their numbers.
    """

    text: str
    blocks: Blocks = ()
    citations: tuple[Source, ...] = ()


A = TypeVar("A", bound=ToolArguments)


@dataclass(frozen=True, slots=True)
class Tool(Generic[A]):
    """`run` raises `ToolError` for what the model should know. When it is cancelled, it has to end within two seconds.

    `name` and `description` are read by the model.
    """

    name: str
    description: str
    arguments: type[A]
    run: Callable[[A, ToolContext], Awaitable[ToolOutput]]
    effect: Effect
    timeout_seconds: float = 30.0
    definition: ToolDefinition = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"endpoints take no tool of the name {self.name!r}")
        definition = ToolDefinition(self.name, self.description, argument_schema(self.arguments))
        object.__setattr__(self, "definition", definition)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What became of a call: the output of a tool, or in `text` why there is none."""

    text: str
    succeeded: bool
    blocks: Blocks = ()
    citations: tuple[Source, ...] = ()


AnyTool = Tool[Any]
