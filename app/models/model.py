"""Requests to a language model and the events of its answers, whichever API the endpoint speaks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from app.common.identity import APP_IDENTITY, RequestIdentity

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asks for; `arguments` is the JSON text exactly as the model wrote it.

    `extra` holds the unknown fields of the call, those of its `function` under that name: some models
    refuse the next request without them (https://ai.google.dev/gemini-api/docs/thought-signatures).
    """

    id: str
    name: str
    arguments: str
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """`parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    @property
    def function(self) -> dict[str, Any]:
        """As both APIs spell it."""
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The JSON that an answer is: `schema` is a JSON Schema as strict structured outputs take it. `name` has letters,
    digits, `_` and `-`, at most 64.
    """

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """`identity` is as whom the model is asked. An endpoint that knows no `answer_schema` refuses the request."""

    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...] = ()
    identity: RequestIdentity = APP_IDENTITY
    answer_schema: AnswerSchema | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """Something the answer rests on, as the endpoint reported it."""

    title: str
    url: str | None = None
    quote: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Completed:
    """The last event of every complete stream; `tool_calls` are to be run before the model can continue.

    `trace_id` is that of the MLflow trace of the answer, "" where the endpoint returned none.
    """

    tool_calls: tuple[ToolCall, ...] = ()
    truncated: bool = False
    usage: Usage | None = None
    trace_id: str = ""


ModelEvent = TextDelta | Source | Completed


class Model(Protocol):
    """A language model. `stream` raises `app.models.model_errors.ModelError` and nothing else of its own."""

    @property
    def name(self) -> str: ...

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Closing the generator, or cancelling its consumer, ends the request to the endpoint."""
        ...

    async def close(self) -> None: ...
