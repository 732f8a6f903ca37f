"""HTML that the standard library's parser reads in linear time."""

from __future__ import annotations

# Teams takes no message over 28 KB: https://learn.microsoft.com/microsoftteams/limits-specifications-teams#chat
_MOST_CHARACTERS = 40_000
_MOST_TAGS = 3_000


def bounded(html: str) -> str:
    """Cut, and without what makes the parser look through the rest of a text again and again."""
    html = html[:_MOST_CHARACTERS]
    if html.count("<") > _MOST_TAGS:
        html = "<".join(html.split("<", _MOST_TAGS)[:_MOST_TAGS])
    # A tag that never ends is text.
    end = html.rfind(">") + 1
    html = html[:end] + html[end:].replace("<", "&lt;")
    kept, position = [], 0
    while (start := html.find("<!", position)) >= 0:
        kept.append(html[position:start])
        is_comment = html.startswith("<!--", start)
        end = html.find("-->" if is_comment else ">", start)
        position = len(html) if end < 0 else end + (3 if is_comment else 1)
    kept.append(html[position:])
    # Around what was taken out, a new one may have formed.
    return "".join(kept).replace("<!", "&lt;!")
