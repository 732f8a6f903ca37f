"""Which part of a request an endpoint refuses. Each kind of server says it in words of its own."""

from __future__ import annotations

import re

from app.model.error_bodies import ErrorBody

# How texts name a parameter. `tool_calls` and `tool_use` are parts of messages, and no parameter.
_NAMES = {
    "tools": r"\btools?\b|\btool[ -](?:use|calls?|calling|choice)\b|\btool_?(?:choice|config)\b|\bfunction calling\b"
    r"|\{'(?:function|parameters)'",
    "temperature": r"\btemperature\b",
    "max_tokens": r"\bmax_tokens\b|\bmaximum tokens\b|\bin the completion\b",
    "max_completion_tokens": r"\bmax_completion_tokens\b",
    "max_output_tokens": r"\bmax_output_tokens\b",
    "stream_options": r"\bstream_options\b|\binclude_usage\b",
    "stream": r"\bstream\b|\bstreaming\b",
    "system": r"\bsystem (?:role|messages?|prompts?)\b|\brole\W{1,4}system\b",
    "messages": r"['\"`]messages['\"`]",
    "input": r"['\"`]input['\"`]",
}
_NAMED = re.compile("(?i)" + "|".join(f"(?P<{name}>{pattern})" for name, pattern in _NAMES.items()))
_REFUSES = re.compile(
    r"(?i)n[o']t (?:be |currently )?(?:support|allow|permit|enable|accept|available|defined in the schema)|unsupported"
    r"|unknown|unrecogni[sz]ed|unexpected|extra (?:inputs|fields)|extraneous|additional propert|deprecated|requires? --"
)
_LIMITS = re.compile(
    r"(?i)too (?:large|big|high|many)|must be|\brange\b|between|less than|at most|exceed|only the default|maximum"
    r"|invalid|does not support|please reduce"
)
_HAS_LIMITS = frozenset({"temperature", "max_tokens", "max_completion_tokens", "max_output_tokens"})
_LONGEST_TEXT = 4000
# The words that refuse stand in the sentence that names the parameter, or beside it.
_NEARBY = 100


def refused_parameters(error: ErrorBody) -> tuple[str, ...]:
    """Names of `_NAMES`, the likeliest first; empty where the error names none."""
    named = dict.fromkeys(_known(name) for name in error.parameters)
    said = error.said[:_LONGEST_TEXT]
    for found in _NAMED.finditer(said):
        name = found.lastgroup or ""
        around = said[max(0, found.start() - _NEARBY) : found.end() + _NEARBY]
        if _REFUSES.search(around) or (name in _HAS_LIMITS and _LIMITS.search(around)):
            named[name] = None
    return tuple(name for name in named if name)


def _known(parameter: str) -> str:
    """From `tools[0].function`, `body` or `max_tokens`."""
    first = re.split(r"[.\[]", parameter[:100], maxsplit=1)[0]
    return "tools" if first == "tool_choice" else first if first in _NAMES else ""
