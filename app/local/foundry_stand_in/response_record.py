"""A response: what was asked, how far it is, and its JSON."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.local.foundry_stand_in.conversations import Conversation
from app.local.foundry_stand_in.refusals import Json

ENDED = frozenset({"completed", "failed", "cancelled", "incomplete", "expired"})


@dataclass(slots=True)
class ResponseRecord:
    """`history` are the items before `asked`, the new ones. `agent` is the version that answers."""

    id: str
    created_at: float
    agent: Json | None
    model: str
    tools: Sequence[Json]
    history: Sequence[Json]
    asked: Sequence[Json]
    metadata: dict[str, str]
    background: bool
    conversation: Conversation | None
    previous: str | None
    status: str = "queued"
    output: list[Json] = field(default_factory=list)
    error: Json | None = None
    incomplete_reason: str | None = None
    run: asyncio.Task[None] | None = None

    @property
    def items(self) -> list[Json]:
        return [*self.history, *self.asked, *self.output]

    def to_json(self) -> Json:
        agent = self.agent
        reference = None
        if agent is not None:
            reference = {"type": "agent_reference", "name": agent["name"], "version": agent["version"]}
        incomplete = None
        if self.status == "incomplete":
            incomplete = {"reason": self.incomplete_reason} if self.incomplete_reason else {}
        return {
            "id": self.id,
            "object": "response",
            "created_at": int(self.created_at),
            "status": self.status,
            "background": self.background,
            "error": self.error,
            "incomplete_details": incomplete,
            "instructions": agent["definition"].get("instructions") if agent else None,
            "max_output_tokens": None,
            "model": self.model,
            "output": self.output,
            "parallel_tool_calls": True,
            "previous_response_id": self.previous,
            "conversation": {"id": self.conversation.id} if self.conversation else None,
            "metadata": self.metadata,
            "temperature": 1,
            "top_p": 1,
            "tool_choice": "auto",
            "tools": list(self.tools),
            "agent_reference": reference,
            "usage": None if self.status not in ENDED else _USAGE,
        }


_USAGE: Mapping[str, Any] = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}


def message_item(text: str) -> Json:
    content = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "type": "message",
        "id": f"msg_{secrets.token_hex(24)}",
        "status": "completed",
        "role": "assistant",
        "content": [content],
    }


def refusal_item(text: str) -> Json:
    return {**message_item(""), "content": [{"type": "refusal", "refusal": text}]}


def function_call_item(name: str, arguments: Json) -> Json:
    return {
        "type": "function_call",
        "id": f"fc_{secrets.token_hex(24)}",
        "status": "completed",
        "call_id": f"call_{secrets.token_hex(12)}",
        "name": name,
        "arguments": json.dumps(arguments),
    }


def azure_function_items(name: str, call_id: str, arguments: Json, output: str) -> list[Json]:
    call = {"call_id": call_id, "name": name, "status": "completed"}
    return [
        {"type": "azure_function_call", "id": f"azf_{secrets.token_hex(24)}", "arguments": json.dumps(arguments)}
        | call,
        {"type": "azure_function_call_output", "id": f"azfo_{secrets.token_hex(24)}", "output": output} | call,
    ]


def approval_request_item(label: str, name: str, arguments: Json) -> Json:
    return {
        "type": "mcp_approval_request",
        "id": f"mcpr_{secrets.token_hex(24)}",
        "server_label": label,
        "name": name,
        "arguments": json.dumps(arguments),
    }


def mcp_call_item(label: str, name: str, arguments: Json, output: str | None, error: str | None) -> Json:
    return {
        "type": "mcp_call",
        "id": f"mcp_{secrets.token_hex(24)}",
        "server_label": label,
        "name": name,
        "arguments": json.dumps(arguments),
        "output": output,
        "error": None if error is None else {"type": "mcp_tool_execution_error", "content": error},
        "status": "completed" if error is None else "failed",
    }
