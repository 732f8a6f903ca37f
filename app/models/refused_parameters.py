"""Which part of a request an endpoint refuses. Each kind of server words it differently."""

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
    "databricks_options": ("databricks_options",),
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
_MAX_TEXT_CHARACTERS = 4000
# How far from the name of a parameter the words stand that refuse it.
_NEARBY_CHARACTERS = 120


def refused_parameters(error: ErrorBody) -> tuple[str, ...]:
    """Names of `_NAMES`, the likeliest first; empty where the error names none."""
    named = dict.fromkeys(_known(name) for name in error.parameters)
    message = error.message[:_MAX_TEXT_CHARACTERS].lower()
    for at, name in sorted(_parameters_in(message)):
        around = message[max(0, at - _NEARBY_CHARACTERS) : at + _NEARBY_CHARACTERS]
        if _REFUSES.search(around) or (name in _HAS_LIMITS and _LIMITS.search(around)):
            named[name] = None
    return tuple(name for name in named if name)


def _parameters_in(message: str) -> Iterator[tuple[int, str]]:
    for name, phrases in _NAMES.items():
        for phrase in phrases:
            yield from ((at, name) for at in positions_of(phrase, message))


def positions_of(phrase: str, text: str) -> Iterator[int]:
    """Where `phrase` stands in `text` as whole words."""
    at = text.find(phrase)
    while phrase and at >= 0:
        end = at + len(phrase)
        begins_within_word = _is_word_character(text[at - 1 : at]) and _is_word_character(phrase[0])
        if not begins_within_word and not _is_word_character(text[end : end + 1]):
            yield at
        at = text.find(phrase, end)


def _is_word_character(character: str) -> bool:
    return character.isalnum() or character == "_"


def _known(parameter: str) -> str:
    """From `tools[0].function` or `max_tokens`; a part of a message is no parameter."""
    first = re.split(r"[.\[]", parameter[:100], maxsplit=1)[0]
    if first == "tool_choice":
        return "tools"
    return first if first in _NAMES and (first == parameter or first not in ("messages", "input")) else ""
