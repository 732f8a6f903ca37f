"""The messages of a request as every endpoint accepts them, whichever API it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.models.model import Message

_NOTHING = "(nothing)"


def acceptable_messages(messages: Sequence[Message], *, tools_offered: bool, system_role: bool) -> list[Message]:
    """No message is without text, as Anthropic's models refuse that, unless it calls tools.

    Where no tools are offered, calls and results become text: Amazon Bedrock refuses them otherwise.
    """
    sent = list(messages) if tools_offered else _calls_as_text(messages)
    sent = [
        replace(message, content=_NOTHING if message.role == "tool" else "") if not message.content.strip() else message
        for message in sent
    ]
    kept = [message for message in sent if message.content or message.tool_calls]
    return kept if system_role else _without_system_role(kept)


def _calls_as_text(messages: Sequence[Message]) -> list[Message]:
    sent: list[Message] = []
    calls: dict[str, str] = {}
    for message in messages:
        calls |= {call.id: f"{call.name}({call.arguments or '{}'})" for call in message.tool_calls}
        if message.role == "tool":
            called = calls.get(message.tool_call_id or "", "a tool")
            sent.append(Message("user", f"Result of the tool call {called}:\n{message.content.strip() or _NOTHING}"))
        else:
            sent.append(replace(message, tool_calls=()))
    return sent


def _without_system_role(messages: Sequence[Message]) -> list[Message]:
    """Some open models' templates know no such role: the instructions stand before the first question."""
    instructions = [message.content for message in messages if message.role == "system"]
    others = [message for message in messages if message.role != "system"]
    for position, message in enumerate(others):
        if instructions and message.role == "user":
            others[position] = replace(message, content="\n\n".join([*instructions, message.content]))
            break
    return others
