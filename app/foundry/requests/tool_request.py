"""A request of an agent in Foundry, however it came in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from app.common.text import replace_lone_surrogates
from app.turns.queue_message import UnreadableMessageError, wrong_fields


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """`tool` is the function's name. `correlation_id` names the request, of any length: a repeat has the same one.

    `conversation` is the key of order: requests of a tool with the same one are answered one at a time, by
    `inserted_at`, in seconds since 1970 by the queue's clock. Without one a request waits for no other. Where the
    `value_is_sent`, it goes to the tool's output queue; else it is only kept. A `refusal` is a sentence that is the
    answer: the request cannot be made as it is.
    """

    tool: str
    correlation_id: str
    arguments: Mapping[str, Any]
    inserted_at: float
    conversation: str = ""
    value_is_sent: bool = True
    traceparent: str | None = None
    refusal: str = ""

    def to_json(self) -> str:
        return exact_json({"v": 1, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> ToolRequest:
        """Raises `UnreadableMessageError`."""
        try:
            row = json.loads(text)
            if not isinstance(row, dict) or row.pop("v", None) != 1:
                raise UnreadableMessageError("payload: not that of a request")
            return cls(**_Row.model_validate(row).model_dump())
        except ValidationError as error:
            raise UnreadableMessageError(wrong_fields(error)) from None
        except (ValueError, RecursionError):
            raise UnreadableMessageError("payload: no JSON") from None


class _Row(BaseModel):
    # Built at first use; strict JSON of pydantic's own would refuse half a surrogate pair.
    model_config = ConfigDict(strict=True, defer_build=True, hide_input_in_errors=True)

    tool: str
    correlation_id: str
    arguments: dict[str, Any]
    inserted_at: float
    conversation: str
    value_is_sent: bool
    traceparent: str | None
    refusal: str


@dataclass(frozen=True, slots=True)
class KeptValue:
    """What a request was answered with; `failed` where it says why there is no answer."""

    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request that is being answered."""


def exact_json(value: object) -> str:
    """Short, and with every character as it was: half a surrogate pair stays an escape."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text == replace_lone_surrogates(text) else json.dumps(value)
