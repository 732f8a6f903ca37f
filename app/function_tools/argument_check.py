"""Whether a function's arguments are as its schema says: one that is given others often ends without an answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from app.tools.base import ToolError

_log = logging.getLogger(__name__)

_MAX_PROBLEMS = 5
_MAX_PROBLEM_CHARACTERS = 300


async def check_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Raises `ToolError`."""
    # In a thread, because the first import takes long.
    if problems := await asyncio.to_thread(_problems, schema, arguments):
        raise ToolError(f"its arguments are not as described: {'; '.join(problems)}")


def _problems(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    from jsonschema import Draft202012Validator  # noqa: PLC0415

    try:
        Draft202012Validator.check_schema(schema)
        errors = sorted(Draft202012Validator(schema).iter_errors(arguments), key=lambda each: each.json_path)
    except Exception as error:
        # A pattern or a reference may be wrong too, each with an error of its own.
        _log.error("The parameters of a function in FUNCTION_TOOLS are no JSON schema (%s)", type(error).__name__)
        raise ToolError("its schema is not valid; an administrator can correct it in FUNCTION_TOOLS") from None
    return [f"{error.json_path} {error.message}"[:_MAX_PROBLEM_CHARACTERS] for error in errors[:_MAX_PROBLEMS]]
