"""Whether a function's arguments are as its schema says: one that is given others often ends without an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from app.tools.base import ToolError

_MAX_PROBLEMS = 5
_MAX_PROBLEM_CHARACTERS = 300


async def check_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Raises `ToolError`."""
    # In a thread, because the first import takes long.
    if problems := await asyncio.to_thread(_problems, schema, arguments):
        raise ToolError(f"its arguments are not as described: {'; '.join(problems)}")


def _problems(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    from jsonschema import Draft202012Validator  # noqa: PLC0415

    errors = sorted(Draft202012Validator(schema).iter_errors(arguments), key=lambda each: each.json_path)
    return [f"{error.json_path} {error.message}"[:_MAX_PROBLEM_CHARACTERS] for error in errors[:_MAX_PROBLEMS]]
