"""Limits HTML so that the standard library's parser reads it in linear time."""

from __future__ import annotations

# Teams refuses messages over 28 KB: https://learn.microsoft.com/microsoftteams/limits-specifications-teams#chat
_MAX_CHARACTERS = 40_000
_MAX_TAGS = 3_000


def bounded(html: str) -> str:
    """Cuts `html`, and removes declarations, comments and unclosed tags: each makes the parser scan the whole rest."""
    html = html[:_MAX_CHARACTERS]
    if html.count("<") > _MAX_TAGS:
        html = "<".join(html.split("<", _MAX_TAGS)[:_MAX_TAGS])
    # A tag that is never closed is text.
    end = html.rfind(">") + 1
    html = html[:end] + html[end:].replace("<", "&lt;")
    kept, position = [], 0
    while (start := html.find("<!", position)) >= 0:
        kept.append(html[position:start])
        is_comment = html.startswith("<!--", start)
        end = html.find("-->" if is_comment else ">", start)
        position = len(html) if end < 0 else end + (3 if is_comment else 1)
    kept.append(html[position:])
    # The parts around a removed declaration may form another.
    return "".join(kept).replace("<!", "&lt;!")
