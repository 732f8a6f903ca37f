"""A run of a classic agent, as far as it is needed here: pure, from the service's JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.common.json_values import items, mapping, text
from app.foundry.agents.foundry_errors import STANDARD_SETUP, FoundryError, NoEndError, RefusedError
from app.foundry.agents.sources import is_source_of, numbered_links

# https://learn.microsoft.com/rest/api/aifoundry/aiagents/runs: "incomplete" is not among the package's.
_ENDED = frozenset({"completed", "failed", "cancelled", "canceled", "expired", "incomplete"})
# Of all other failures it is not known what a tool had done before.
_REFUSAL_CODES = frozenset({"invalid_prompt", "content_filter"})
_MAX_QUOTED_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class ClassicRun:
    """`problem` says why it will not bring an answer; None while it may, or has."""

    id: str
    status: str
    problem: FoundryError | None

    @property
    def has_ended(self) -> bool:
        """A status that nobody knows is waited for, up to the time limit."""
        return self.status in _ENDED


def read_run(body: Mapping[str, Any]) -> ClassicRun:
    status = text(body.get("status")).lower()
    return ClassicRun(text(body.get("id")), status, _problem(status, body))


def answer_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the agent wrote, with its sources as numbered links at the end."""
    written: list[str] = []
    sources: dict[str, str] = {}
    for part in _text_parts(messages):
        said = text(part.get("value"))
        for annotation in map(mapping, items(part.get("annotations"))):
            cited = mapping(annotation.get("url_citation"))
            url = text(cited.get("url"))
            if is_source_of(said, url):
                sources.setdefault(url, _quoted(cited.get("title")) or url)
                if marker := text(annotation.get("text")):
                    said = said.replace(marker, f" [{list(sources).index(url) + 1}]")
        written.append(said.strip())
    return "\n\n".join(filter(None, [*written, numbered_links(sources)]))


def tool_calls_of(steps: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The names of the tools and of the connected agents that were called."""
    calls = [mapping(call) for step in steps for call in items(mapping(step.get("step_details")).get("tool_calls"))]
    return tuple(
        text(mapping(call.get(text(call.get("type")))).get("name")) or text(call.get("type")) for call in calls
    )


def _problem(status: str, body: Mapping[str, Any]) -> FoundryError | None:
    if status == "requires_action":
        return _asked_of_us(mapping(body.get("required_action")))
    if status == "failed":
        return _failure(mapping(body.get("last_error")))
    if status == "incomplete":
        reason = _quoted(mapping(body.get("incomplete_details")).get("reason"))
        if reason == "content_filter":
            return RefusedError("The content filter stopped the answer. Ask in other words.")
        return NoEndError(f"The answer is incomplete ({reason or 'no reason given'}).")
    if status == "expired":
        return NoEndError("The run took longer than the ten minutes that Foundry gives it, and expired.")
    return NoEndError("The run was cancelled.") if status in _ENDED - {"completed"} else None


def _asked_of_us(action: Mapping[str, Any]) -> RefusedError | None:
    """None where the service waits for itself: while an Azure Function is called, the run requires an action too."""
    if text(action.get("type")) == "submit_tool_approval":
        return RefusedError("The agent asks for approval to call a tool, which nobody here can give.")
    calls = map(mapping, items(mapping(action.get("submit_tool_outputs")).get("tool_calls")))
    function = next((call for call in calls if call.get("type") == "function"), None)
    if function is None:
        return None
    name = _quoted(mapping(function.get("function")).get("name")) or "a function"
    return RefusedError(f"The agent waits for {name}, which this program does not have: run create again.")


def _failure(error: Mapping[str, Any]) -> FoundryError:
    code, message = _quoted(error.get("code")), _quoted(error.get("message"))
    if "azure_function" in message and "standard" in message.lower():
        return RefusedError(STANDARD_SETUP)
    said = ": ".join(filter(None, (code, message))) or "no reason given"
    kind = RefusedError if code in _REFUSAL_CODES else NoEndError
    return kind(f"The run failed ({said}).")


def _text_parts(messages: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for message in messages:
        if text(message.get("role")) in ("assistant", "agent"):
            yield from (mapping(mapping(part).get("text")) for part in items(message.get("content")))


def _quoted(value: object) -> str:
    said = " ".join(text(value).split())
    return said if len(said) <= _MAX_QUOTED_CHARACTERS else f"{said[:_MAX_QUOTED_CHARACTERS]}…"
