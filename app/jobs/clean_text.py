"""What comes from outside, such that people and programs may be shown it: bounded, without secrets, in plain text."""

from __future__ import annotations

from app.common.log_text import one_line
from app.common.text import replace_lone_surrogates
from app.tools.redaction import without_secrets

MAX_URL_CHARACTERS = 500

# Characters that turn the direction of the text around them, which makes one name look like another.
_DIRECTION_MARKS = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def clean_line(text: str, max_characters: int) -> str:
    """On one line, without secrets and characters that nobody sees, cut with an ellipsis."""
    return _cut(one_line(_cleaned(text, max_characters)), max_characters)


def clean_block(text: str, max_characters: int) -> str:
    """Like `clean_line`, with its lines kept."""
    lines = _cleaned(text, max_characters).expandtabs(4).splitlines()
    kept = ("".join(each if each.isprintable() else " " for each in line).rstrip() for line in lines)
    return _cut("\n".join(kept).strip("\n"), max_characters)


def clean_url(url: str) -> str:
    """The URL if a browser can open it, else ""."""
    is_usable = url.startswith("https://") and len(url) <= MAX_URL_CHARACTERS and url.isascii() and url.isprintable()
    return url if is_usable and not any(each in url for each in " \"'<>\\`") else ""


def _cleaned(text: str, max_characters: int) -> str:
    # A secret that is cut in two would no longer be recognised: cut far behind what is kept.
    return without_secrets(replace_lone_surrogates(text[: 4 * max_characters + 500])).translate(_DIRECTION_MARKS)


def _cut(text: str, max_characters: int) -> str:
    return text if len(text) <= max_characters else text[: max_characters - 1] + "…"
