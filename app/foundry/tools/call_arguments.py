"""What a call of a tool asks, read from arguments that a model wrote and nobody has checked. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.common.text import replace_lone_surrogates
from app.foundry.tools.foundry_tool import RefusedCallError

MAX_QUERIES = 10
MAX_QUERY_CHARACTERS = 20_000

QUERY = {"type": "string", "description": "The question in plain words, whole and with all that it refers to."}
QUERIES = {
    "type": "array",
    "items": {"type": "string"},
    "description": f"Several questions that do not depend on each other, instead of query: {MAX_QUERIES} at most.",
}


def questions_of(
    arguments: Mapping[str, Any], *, max_characters: int = MAX_QUERY_CHARACTERS, also: Sequence[str] = ()
) -> tuple[str, ...]:
    """Those of `query` and `queries` in their order, equal ones once; where there is none, the first of `also` that is
    given. Raises `RefusedCallError`.

    Some models write a list as a text in JSON, put a list into `query`, or each question into an object of its own.
    """
    asked = [*_texts(arguments.get("query"), "query"), *_texts(arguments.get("queries"), "queries")]
    if not asked and (other := text_argument(arguments, *also, max_characters=max_characters)):
        asked = [other]
    questions = tuple(dict.fromkeys(cleaned for each in asked if (cleaned := _cleaned(each))))
    if not questions:
        raise RefusedCallError("There is no question: put one into query, or several into queries.")
    if len(questions) > MAX_QUERIES:
        raise RefusedCallError(
            f"{len(questions)} questions are too many for one call, and none was asked: put {MAX_QUERIES} at most "
            "into queries, and call again for the others."
        )
    if any(len(each) > max_characters for each in questions):
        raise RefusedCallError(f"A question is too long: it may have {max_characters:,} characters. None was asked.")
    return questions


def text_argument(arguments: Mapping[str, Any], *names: str, max_characters: int = 1_000) -> str:
    """The first of `names` that is given, "" where none is; whole numbers, such as ids, as text. Raises
    `RefusedCallError`.
    """
    for name in names:
        value = arguments.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)
        if not isinstance(value, str) and not _is_whole_number(value):
            raise RefusedCallError(f"{name} has to be a text.")
        if text := _cleaned(str(value)):
            if len(text) > max_characters:
                raise RefusedCallError(f"{name} is too long: it may have {max_characters:,} characters.")
            return text
    return ""


def _texts(value: object, name: str) -> Sequence[str]:
    if value is None:
        return ()
    if _is_whole_number(value):
        return (str(value),)
    if isinstance(value, str):
        listed = _listed(value) if value.lstrip().startswith("[") else None
        return (value,) if listed is None else listed
    if isinstance(value, list):
        return list(_items(value, name))
    raise RefusedCallError(f"{name} has to be {'a text' if name == 'query' else 'a list of texts'}.")


def _items(values: Sequence[object], name: str) -> Iterator[str]:
    for each in values:
        if isinstance(each, dict) and len(each) == 1:
            each = each.get("query")
        if not isinstance(each, str) and not _is_whole_number(each):
            raise RefusedCallError(f"{name} has to be a list of texts.")
        yield str(each)


def _is_whole_number(value: object) -> bool:
    """An id, for one. Python refuses to write the longest."""
    return isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64


def _listed(value: str) -> list[str] | None:
    """None for a question that only looks like a list."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else None


def _cleaned(text: str) -> str:
    return replace_lone_surrogates(text.replace("\0", "")).strip()
