"""Takes secrets out of what tools return, before a model, a person, storage or a log gets it."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

REMOVED = "[secret removed]"

# Nothing shorter is a secret, and most cells of a table are shorter.
_MIN_CHARACTERS = 12

# What has no longest length begins where a word begins, so that no text makes the search quadratic.
_SECRET = re.compile(
    "|".join(
        [
            r"(?:dapi|dkea|dose)[0-9a-f]{32}(?:-[0-9]{1,2})?",
            # JSON Web Tokens.
            r"(?<![\w-])eyJ[\w-]{10,}\.[\w-]{10,}(?:\.[\w-]*)?",
            r"(?:AKIA|ASIA)[A-Z0-9]{16}",
            r"gh[pousr]_[A-Za-z0-9]{36,}",
            r"github_pat_\w{22,}",
            r"(?<![\w-])sk-[\w-]{20,}",
            r"xox[abprs]-[\w-]{10,}",
            r"AIza[\w-]{35}",
            r"-----BEGIN(?:\s[A-Z]{2,20}){0,3}\sPRIVATE\sKEY-----[^-]*(?:-----END[A-Z\s]{0,40}-----)?",
        ]
    ),
    re.ASCII,
)
# The name in front of the value stays.
_NAMED_SECRET = re.compile(
    r"((?:account_?key|shared_?access_?key|access_?key|secret_?key|api[_-]?key|client_?secret|password|pwd"
    r"|(?:access|refresh)_?token)[\"']?\s{0,3}[=:]\s{0,3}[\"']?|\bbearer\s{1,3}|[?&]sig=|://[^\s/:@]{1,100}:(?=[^\s/@]{1,200}@))"
    r"[^\s\"';&@]{8,}",
    re.ASCII | re.IGNORECASE,
)

# One of them, in lower case, is in every text in which the patterns find something; looking for them is far quicker.
_HINTS = (
    *(
        "dapi",
        "dkea",
        "dose",
        "eyj",
        "akia",
        "asia",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "sk-",
        "xox",
    ),
    *("aiza", "-----begin", "key", "secret", "password", "pwd", "_token", "accesstoken", "refreshtoken", "bearer"),
    *("sig=", "://"),
)

T = TypeVar("T")


def without_secrets(text: str) -> str:
    """Without tokens of Databricks, JSON Web Tokens, keys of clouds and services, and passwords by their name."""
    if len(text) < _MIN_CHARACTERS or not _may_hold_secret(text):
        return text
    return _NAMED_SECRET.sub(rf"\g<1>{REMOVED}", _SECRET.sub(REMOVED, text))


def _may_hold_secret(text: str) -> bool:
    lowered = text.lower()
    return any(hint in lowered for hint in _HINTS)


def redacted(value: T) -> T:
    """The same dataclass or tuple without secrets in its strings. Buttons stay: their data is the program's own. So
    do pixels, whose base64 would be long to search and may look like anything.
    """
    clean: Any = value
    if isinstance(value, str):
        clean = without_secrets(value)
    elif isinstance(value, tuple):
        clean = tuple(redacted(each) for each in value)
    elif is_dataclass(value) and not isinstance(value, type) and (kind := getattr(value, "kind", "")) != "actions":
        changed = {
            each.name: new
            for each in fields(value)
            if each.init
            and (kind, each.name) != ("image", "data")
            and (new := redacted(old := getattr(value, each.name))) is not old
            and new != old
        }
        clean = replace(value, **changed) if changed else value
    return clean  # type: ignore[no-any-return]
