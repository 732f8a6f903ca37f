"""What a trace may hold of what people and models wrote. Pure: knows no MLflow."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal

from app.tools.redaction import REMOVED, without_secrets

Content = Literal["full", "masked", "none"]

NOT_RECORDED = "[not recorded: TRACE_CONTENT=none]"
MASKED_ADDRESS = "[mail address]"
MASKED_NUMBER = "[number]"
# More would slow down who reads the trace, and fill the database: files in base64, whole results of queries.
MAX_TEXT_CHARACTERS = 50_000
# Read beyond the cut, so that no part of a secret, an address or a number stands before it.
_BEYOND_CUT_CHARACTERS = 1_000
_MAX_DEPTH = 40

# Each part has a longest length, so that no text makes the search quadratic.
_MAIL_ADDRESS = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}", re.ASCII)
# Of telephones, accounts and cards: seven digits or more, also in groups. A number of a result (1234567.5) counts too.
_LONG_NUMBER = re.compile(r"(?<![\w.])\+?\d(?:[ ()/-]{0,2}\d){6,30}(?![\w])", re.ASCII)
# A header, or a value that its own name calls a secret.
_SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:authorization|cookie|set-cookie|password|passwd|pwd|secret|token|api[_-]?key|credentials?)$"
    r"|^x-forwarded-|(?:access|refresh|api|id)token$|apikey$",
    re.ASCII | re.IGNORECASE,
)


def recorded_text(text: str, content: Content) -> str:
    """`text` as a trace may hold it."""
    if content == "none":
        return NOT_RECORDED
    left_out = len(text) - MAX_TEXT_CHARACTERS
    if left_out <= 0:
        return _clean(text, content)
    clean = _clean(text[: MAX_TEXT_CHARACTERS + _BEYOND_CUT_CHARACTERS], content)
    end = MAX_TEXT_CHARACTERS
    if left_out > _BEYOND_CUT_CHARACTERS:
        end = min(end, len(clean) - _BEYOND_CUT_CHARACTERS)
    return f"{clean[:end]}… [{left_out} more characters]"


def _clean(text: str, content: Content) -> str:
    text = without_secrets(text)
    if content == "masked":
        if "@" in text:
            text = _MAIL_ADDRESS.sub(MASKED_ADDRESS, text)
        text = _LONG_NUMBER.sub(MASKED_NUMBER, text)
    return text


def recorded_value(value: Any, content: Content) -> Any:  # noqa: ANN401 - any JSON
    """A JSON value as a trace may hold it. Returns `value` itself where nothing has to change."""
    return NOT_RECORDED if content == "none" else _recorded(value, content, 0)


def person_of(owner: str, content: Content) -> str:
    """How a trace names who asked: where people are masked, by a pseudonym that is always the same."""
    if content == "full":
        return owner
    return f"user-{hashlib.sha256(owner.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def is_secret_name(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _recorded(value: Any, content: Content, depth: int) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return recorded_text(value, content)
    if depth > _MAX_DEPTH:
        return "[too deep]" if isinstance(value, Mapping | list | tuple) else value
    if isinstance(value, Mapping):
        changed = {key: _recorded_field(key, each, content, depth) for key, each in value.items()}
        return changed if any(changed[key] is not each for key, each in value.items()) else value
    if isinstance(value, list | tuple):
        each_changed = [_recorded(each, content, depth + 1) for each in value]
        return each_changed if any(new is not old for new, old in zip(each_changed, value, strict=True)) else value
    return value


def _recorded_field(key: Any, value: Any, content: Content, depth: int) -> Any:  # noqa: ANN401
    if isinstance(key, str) and isinstance(value, str | list | tuple) and value and is_secret_name(key):
        return REMOVED
    return _recorded(value, content, depth + 1)
