"""A response of an agent, as far as it is needed here: from JSON, whose items may be of kinds that openai's package
does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.foundry.agents.foundry_errors import STANDARD_SETUP, NoEndError, RefusedError
from app.foundry.agents.sources import is_source_of, numbered_links

ENDED = frozenset({"completed", "failed", "cancelled", "canceled", "incomplete", "expired", "requires_action"})
# https://platform.openai.com/docs/api-reference/responses/object: of `error.code`, those that another try may not meet.
_TRANSIENT_CODES = frozenset({"server_error", "rate_limit_exceeded", "vector_store_timeout", "storage_error"})
_MAX_QUOTED_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class FunctionCall:
    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class AgentResponse:
    """`tool_calls` are those that the service made itself: over a queue, over MCP."""

    id: str
    status: str
    text: str
    function_calls: tuple[FunctionCall, ...]
    tool_calls: tuple[str, ...]
    problem: NoEndError | RefusedError | None

    @property
    def has_ended(self) -> bool:
        """A status that nobody knows is waited for, up to the time limit."""
        return self.status in ENDED


def read_response(body: Mapping[str, Any]) -> AgentResponse:
    items = [each for each in _listed(body.get("output")) if isinstance(each, Mapping)]
    status = str(body.get("status") or "completed")
    # A tool of the service may look like a function: https://github.com/microsoft/agent-framework/pull/8078
    answered = {str(each.get("call_id")) for each in items if each.get("type") == "function_call_output"}
    # One may come again without its arguments: https://github.com/microsoft/agent-framework/issues/7485
    calls: dict[str, FunctionCall] = {}
    for each in items:
        call = FunctionCall(*(str(each.get(name) or "") for name in ("call_id", "name", "arguments")))
        if each.get("type") != "function_call" or call.call_id in answered:
            continue
        if call.arguments or call.call_id not in calls:
            calls[call.call_id] = call
    text = _text(items)
    return AgentResponse(
        id=str(body.get("id") or ""),
        status=status,
        text=text,
        function_calls=tuple(calls.values()),
        tool_calls=tuple(
            str(each.get("name") or kind)
            for each in items
            if (kind := str(each.get("type"))).endswith("_call")
            and (kind != "function_call" or str(each.get("call_id")) in answered)
        ),
        problem=_problem(status, body, items, answered=bool(text or calls)),
    )


def _problem(
    status: str, body: Mapping[str, Any], items: list[Mapping[str, Any]], *, answered: bool
) -> NoEndError | RefusedError | None:
    """Why an ended response is no answer; None where it is one, or still runs."""
    if status not in ENDED:
        return None
    if waiting := _asked_of_a_person(items):
        return waiting
    if status == "completed":
        if refused := next((part["refusal"] for part in _parts(items) if part.get("refusal")), None):
            return RefusedError(f"The model refused: {_quoted(refused)}")
        return None if answered else NoEndError("The agent ended without an answer.")
    if status == "incomplete":
        reason = _field(body.get("incomplete_details"), "reason")
        if reason == "content_filter":
            return RefusedError("The content filter stopped the answer. Ask in other words.")
        return NoEndError(f"The answer is incomplete ({reason or 'no reason given'}).")
    if status == "failed":
        return _failure(body.get("error"))
    if status == "requires_action":
        # A function call is what the caller acts on.
        return None if answered else RefusedError("The agent waits for something that this program cannot give.")
    ends = {"expired": "ran longer than Foundry allows, and expired"}
    return NoEndError(f"The response {ends.get(status, 'was cancelled')}.")


def _asked_of_a_person(items: list[Mapping[str, Any]]) -> RefusedError | None:
    for item in items:
        if item.get("type") == "mcp_approval_request":
            return RefusedError(
                f"The agent asks for approval to call {_quoted(item.get('name'))}, which nobody here can give: "
                "run create again, which asks for none."
            )
        if item.get("type") == "oauth_consent_request":
            link = str(item.get("consent_link") or "")
            return RefusedError(
                "The agent asks for a person's consent to a connection. "
                + (f"Open {link} once, then ask again." if link.startswith("https://") else "Give it in the portal.")
            )
    return None


def _failure(error: object) -> NoEndError | RefusedError:
    code, message = _field(error, "code"), _field(error, "message")
    if "azure_function" in message and "standard" in message.lower():
        return RefusedError(STANDARD_SETUP)
    said = ": ".join(filter(None, (code, message))) or "no reason given"
    kind = NoEndError if code in _TRANSIENT_CODES or not code else RefusedError
    return kind(f"The response failed ({said}).")


def _text(items: list[Mapping[str, Any]]) -> str:
    """The text of the messages, and the sources that are only annotations, as numbered links at the end."""
    parts = [part for part in _parts(items) if isinstance(part.get("text"), str)]
    text = "\n\n".join(part["text"].strip() for part in parts if part["text"].strip())
    sources: dict[str, str] = {}
    for part in parts:
        for annotation in _listed(part.get("annotations")):
            url = annotation.get("url") if isinstance(annotation, Mapping) else None
            if isinstance(url, str) and is_source_of(text, url):
                sources.setdefault(url, _field(annotation, "title") or url)
    return f"{text}\n\n{numbered_links(sources)}" if sources else text


def _parts(items: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Of the answer, not of what was said on the way to it: https://github.com/JetBrains/koog/issues/1961"""
    messages = [
        each for each in items if each.get("type") == "message" and each.get("role", "assistant") == "assistant"
    ]
    for message in [each for each in messages if each.get("phase") != "commentary"] or messages:
        yield from (part for part in _listed(message.get("content")) if isinstance(part, Mapping))


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _field(value: object, name: str) -> str:
    return _quoted(value.get(name)) if isinstance(value, Mapping) else ""


def _quoted(value: object) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return text if len(text) <= _MAX_QUOTED_CHARACTERS else f"{text[:_MAX_QUOTED_CHARACTERS]}…"
