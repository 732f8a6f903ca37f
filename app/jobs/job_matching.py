"""Jobs by the pattern of their name, or by a tag."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase


def name_matches(name: str, pattern: str) -> bool:
    """Whether `pattern` is the whole name, in any case, where `*` and `?` stand for characters. Brackets are brackets,
    as in "[prod] nightly".
    """
    return fnmatchcase(name.casefold(), pattern.casefold().replace("[", "[[]"))


def has_tag(tags: Mapping[str, str], tag: str) -> bool:
    """`tag` is a key, or `key=value`."""
    key, _, value = tag.partition("=")
    return key in tags and value in {"", tags[key]}
