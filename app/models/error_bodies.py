"""Reads the body of an error: JSON of several shapes, JSON inside a text of it, HTML, or text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from app.common.json_values import items, mapping, text

MAX_ERROR_CHARACTERS = 20_000
_MAX_NODES = 200
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """`codes`, `messages` and `parameters` are all that the body names, outermost first; `nodes` all its objects."""

    codes: tuple[str, ...]
    messages: tuple[str, ...]
    parameters: tuple[str, ...]
    nodes: tuple[dict[str, Any], ...]

    @property
    def message(self) -> str:
        return "; ".join(self.messages)

    @classmethod
    def of_text(cls, body: str) -> ErrorBody:
        body = body[:MAX_ERROR_CHARACTERS]
        error = _parsed(body)
        return cls.of_json(error) if isinstance(error, dict | list) else cls.of_json({"message": body})

    @classmethod
    def of_json(cls, error: object) -> ErrorBody:
        outer = {"error": error} if isinstance(error, str) else error
        # What is under `error` says more than what is beside it, such as the output so far.
        nodes = list(islice(chain(_mappings(mapping(outer).get("error")), _mappings(outer)), _MAX_NODES))
        for node in nodes:  # grows while it is read: an embedded object may hold another
            if len(nodes) < _MAX_NODES:
                embedded = [_embedded(text(node.get(key))) for key in ("message", "error")]
                nodes += islice(_mappings(embedded), _MAX_NODES - len(nodes))
        messages = (text(node.get(key)) for node in nodes for key in ("message", "error", "msg", "detail"))
        plain = dict.fromkeys(without_markup(each[:MAX_ERROR_CHARACTERS]) for each in messages if each.strip())
        codes = (_code(node.get(key)) for node in nodes for key in ("error_code", "code", "type"))
        named = [text(node.get("param")) for node in nodes] + [
            part for node in nodes for part in items(node.get("loc")) if isinstance(part, str)
        ]
        return cls(
            tuple(dict.fromkeys(code for code in codes if code)),
            tuple(plain),
            tuple(dict.fromkeys(name for name in named if name)),
            tuple(nodes),
        )


def without_markup(page: str) -> str:
    """The text of an HTML page, without its scripts and styles."""
    if "<" not in page:
        return page
    lowered = page.lower()
    kept: list[str] = []
    at = 0
    while (start := page.find("<", at)) >= 0:
        kept.append(page[at:start])
        skipped = next((name for name in ("script", "style") if lowered.startswith(name, start + 1)), None)
        end = lowered.find(f"</{skipped}", start) if skipped else start
        end = page.find(">", end) if end >= 0 else end
        if end < 0:
            # Nothing that began here ends.
            return "".join(kept) if skipped else "".join([*kept, page[start:]])
        kept.append(" ")
        at = end + 1
    return "".join([*kept, page[at:]])


def _code(value: object) -> str:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value)


def _parsed(body: str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _embedded(message: str) -> object:
    start = message.find("{", 0, MAX_ERROR_CHARACTERS)
    if start < 0:
        return None
    try:
        return _DECODER.raw_decode(message[:MAX_ERROR_CHARACTERS], start)[0]
    except (ValueError, RecursionError):
        return None


def _mappings(value: object, depth: int = 6) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield mapping(value)
    if depth and isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _mappings(each, depth - 1)
