"""Texts that make a regular expression work as long as it can, made from the expression itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_CATEGORIES = {
    kinds.CATEGORY_SPACE: " ",
    kinds.CATEGORY_DIGIT: "0",
    kinds.CATEGORY_WORD: "a",
    kinds.CATEGORY_NOT_SPACE: "a",
    kinds.CATEGORY_NOT_DIGIT: "a",
    kinds.CATEGORY_NOT_WORD: "-",
}
_REPEATS = (kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT)
_NEVER_EXPECTED = "\n\x00"


def hostile_texts(pattern: re.Pattern[str], length: int) -> Iterator[str]:
    """Repeated characters, matches and half matches, and whatever repeats in it, never ended as it should be."""
    tree = parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)
    pumps = {(before, body) for before, body in _pumps(list(tree), "")}
    whole = _example(list(tree))
    seeds = {("", character) for character in sorted(set(whole))} | pumps
    seeds |= {("", whole), ("", whole[:-1])} | {("", before + body) for before, body in pumps}
    seeds |= {("", before) for before, _ in pumps}
    for before, body in sorted(seeds):
        if body:
            repeated = (body * (length // len(body) + 1))[: max(length - len(before), 1)]
            yield before + repeated + _NEVER_EXPECTED


def _pumps(nodes: list[Any], before: str) -> Iterator[tuple[str, str]]:
    """What stands before something that may repeat, and that once."""
    for kind, value in nodes:
        if kind in _REPEATS:
            _, most, body = value
            if most > 1:
                yield before, _example(list(body))
            yield from _pumps(list(body), before)
        elif kind is kinds.SUBPATTERN:
            yield from _pumps(list(value[-1]), before)
        elif kind is kinds.ATOMIC_GROUP:
            yield from _pumps(list(value), before)
        elif kind is kinds.BRANCH:
            for branch in value[1]:
                yield from _pumps(list(branch), before)
        before += _example([(kind, value)])


def _example(nodes: list[Any]) -> str:
    """Something that matches, as short as it can be with each optional part once."""
    return "".join(_example_of(kind, value) for kind, value in nodes)


def _example_of(kind: Any, value: Any) -> str:
    match kind:
        case kinds.LITERAL:
            return chr(value)
        case kinds.NOT_LITERAL:
            return "a" if chr(value) != "a" else "b"
        case kinds.ANY:
            return "a"
        case kinds.IN:
            return _member(value)
        case kinds.SUBPATTERN:
            return _example(list(value[-1]))
        case kinds.ATOMIC_GROUP:
            return _example(list(value))
        case kinds.BRANCH:
            return _example(list(value[1][0]))
        case _ if kind in _REPEATS:
            least, _, body = value
            return _example(list(body)) * max(int(least), 1)
    return ""


def _member(members: Any) -> str:
    negated = members[0][0] is kinds.NEGATE
    if negated:
        excluded = re.compile("[" + "".join(re.escape(chr(v)) for k, v in members if k is kinds.LITERAL) + "]+|$^")
        return next(character for character in "a 0-.x" if not excluded.match(character))
    for kind, value in members:
        match kind:
            case kinds.LITERAL:
                return chr(value)
            case kinds.RANGE:
                return chr(value[0])
            case kinds.CATEGORY:
                return str(_CATEGORIES.get(value, "a"))
    return "a"
