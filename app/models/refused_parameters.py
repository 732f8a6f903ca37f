"""Which part of a request an endpoint refuses. Each kind of server says it in words of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from app.models.error_bodies import ErrorBody

# How texts name a parameter, as whole words. `tool_calls` and `tool_use` are parts of messages, and no parameter.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "tools": (
        *("tool", "tools", "tool_choice", "tool_config", "toolconfig", "function calling"),
        *("{'function'", "{'parameters'"),
    ),
    "temperature": ("temperature",),
    "max_tokens": ("max_tokens", "maximum tokens", "in the completion"),
    "max_completion_tokens": ("max_completion_tokens",),
    "max_output_tokens": ("max_output_tokens",),
    "stream_options": ("stream_options", "include_usage"),
    "stream": ("stream", "streaming"),
    "system": (
        *("system role", "system message", "system messages", "system prompt", "system prompts"),
        *("role system", "role 'system'", 'role "system"', "role: system"),
    ),
    "messages": ("'messages'", '"messages"', "`messages`"),
    "input": ("'input'", '"input"', "`input`"),
}
_REFUSES = re.compile(
    r"n[o']t (?:be |currently |yet )?(?:support|implement|allow|permit|enable|accept|available|defined in the schema)"
    r"|unsupported|no longer|cannot be used|unknown|unrecogni[sz]ed|unexpected|extra (?:inputs|fields)|extraneous"
    r"|additional propert|deprecated|requires? --"
)
_LIMITS = re.compile(
    r"too (?:large|big|high|many)|must be|\brange\b|between|less than|at most|exceed|only the default|maximum"
    r"|invalid|does not support|please reduce"
)
_HAS_LIMITS = frozenset({"temperature", "max_tokens", "max_completion_tokens", "max_output_tokens"})
_LONGEST_TEXT = 4000
# The words that refuse stand in the sentence that names the parameter, or beside it.
_NEARBY = 120


def refused_parameters(error: ErrorBody) -> tuple[str, ...]:
    """Names of `_NAMES`, the likeliest first; empty where the error names none."""
    named = dict.fromkeys(_known(name) for name in error.parameters)
    said = error.said[:_LONGEST_TEXT].lower()
    for at, name in sorted(_found_in(said)):
        around = said[max(0, at - _NEARBY) : at + _NEARBY]
        if _REFUSES.search(around) or (name in _HAS_LIMITS and _LIMITS.search(around)):
            named[name] = None
    return tuple(name for name in named if name)


def _found_in(said: str) -> Iterator[tuple[int, str]]:
    for name, phrases in _NAMES.items():
        for phrase in phrases:
            yield from ((at, name) for at in positions_of(phrase, said))


def positions_of(phrase: str, said: str) -> Iterator[int]:
    """Where `phrase` stands in `said` as whole words."""
    at = said.find(phrase)
    while phrase and at >= 0:
        end = at + len(phrase)
        if not (_goes_on(said[at - 1 : at]) and _goes_on(phrase[0])) and not _goes_on(said[end : end + 1]):
            yield at
        at = said.find(phrase, end)


def _goes_on(character: str) -> bool:
    return character.isalnum() or character == "_"


def _known(parameter: str) -> str:
    """From `tools[0].function` or `max_tokens`; a part of a message is no parameter of ours."""
    first = re.split(r"[.\[]", parameter[:100], maxsplit=1)[0]
    if first == "tool_choice":
        return "tools"
    return first if first in _NAMES and (first == parameter or first not in ("messages", "input")) else ""
