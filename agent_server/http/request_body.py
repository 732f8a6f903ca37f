"""Reads the body of a request within limits."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from agent_server.handlers.handler import JsonObject
from agent_server.protocol.api_error import ApiError
from app.common.text import replace_lone_surrogates

_BODY_SECONDS = 60.0
_EXAMPLE = 'for example {"input": "Hello"}'


async def read_json_object(request: Request) -> JsonObject:
    """Half of a surrogate pair, which no store takes, is replaced. Raises `ApiError`."""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await request.body()
    except TimeoutError:
        raise ApiError(408, "The body did not arrive in time.", code="incomplete_body") from None
    except ClientDisconnect:
        raise ApiError(400, "The body ended before it was complete.", code="incomplete_body") from None
    if not body.strip():
        raise ApiError(400, f"The body is empty. Send a JSON object, {_EXAMPLE}.", code="invalid_json")
    try:
        content = json.loads(body)
    except RecursionError:
        raise ApiError(400, "The body is nested too deeply.", code="invalid_json") from None
    except ValueError as error:
        where = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ApiError(400, f"The body is not valid JSON{where}.", code="invalid_json") from None
    if not isinstance(content, dict):
        raise ApiError(400, f"The body must be a JSON object, {_EXAMPLE}.", code="invalid_json")
    return _storable(content) if b"\\ud" in body or b"\\uD" in body else content


def _storable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, str):
        return replace_lone_surrogates(value)
    if isinstance(value, dict):
        return {replace_lone_surrogates(name): _storable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_storable(each) for each in value]
    return value


def read_flag(request: Request, name: str) -> bool:
    """A parameter of the address. Raises `ApiError` for what is neither true nor false."""
    value = request.query_params.get(name, "").lower()
    if value not in ("", "true", "false", "1", "0"):
        raise ApiError(400, f"{name} must be true or false.", code="invalid_value", param=name)
    return value in ("true", "1")


def read_count(request: Request, name: str) -> int | None:
    """As `read_flag`, a whole number that is not negative; None without it."""
    value = request.query_params.get(name)
    if value is None or value == "":
        return None
    if not (value.isascii() and value.isdecimal() and len(value) <= 9):
        raise ApiError(400, f"{name} must be a whole number.", code="invalid_value", param=name)
    return int(value)
