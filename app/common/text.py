"""Text that came in as UTF-16 or as escapes in JSON may hold half a surrogate pair, which UTF-8 cannot write."""

from __future__ import annotations


def replace_lone_surrogates(text: str) -> str:
    """Halves that stand side by side become the character they mean; each other half becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def pending_surrogate(text: str) -> str:
    """The first half of a pair that `text` ends with, whose second half may begin the next piece of a stream; or ""."""
    return text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
