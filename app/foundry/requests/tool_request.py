"""A request of an agent in Foundry, however it came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """`tool` is the function's name. `correlation_id` names the request, of any length: a repeat has the same one.

    `conversation` is the key of order: requests of a tool with the same one are answered one at a time, by
    `inserted_at`, in seconds since 1970 by the queue's clock. Without one a request waits for no other. Where the
    `value_is_sent`, it goes to the tool's output queue; else it is only kept.
    """

    tool: str
    correlation_id: str
    arguments: Mapping[str, Any]
    inserted_at: float
    conversation: str = ""
    value_is_sent: bool = True
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class KeptValue:
    """`text` is None while the request is being answered."""

    text: str | None
