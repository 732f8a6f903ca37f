"""Reads JSON that came from outside: what is not of the expected type counts as absent."""

from __future__ import annotations

from typing import Any


def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def unknown_fields(value: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name not in known and each is not None}
