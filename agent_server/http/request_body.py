"""Reads the body of a request within limits."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from agent_server.handlers.handler import JsonObject
from agent_server.protocol.api_error import ApiError
from app.common.text import replace_lone_surrogates

_MAX_DEPTH = 100
"""What stores and pydantic write of nested values ends at 255; some of what is kept has a request inside."""
_EXAMPLE = 'for example {"input": "Hello"}'


async def read_json_object(request: Request) -> JsonObject:
    """Half of a surrogate pair, which no store takes, is replaced. Raises `ApiError`."""
    body = await read_body(request)
    if not body.strip():
        raise ApiError(400, f"The body is empty. Send a JSON object, {_EXAMPLE}.", code="invalid_json")
    try:
        # Text, since of bytes `loads` takes UTF-16 and encoded surrogates too.
        content = json.loads(body.decode("utf-8-sig"))
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise ApiError(400, "The body is not UTF-8.", code="invalid_json") from None
    except ValueError as error:
        where = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ApiError(400, f"The body is not valid JSON{where}.", code="invalid_json") from None
    if not isinstance(content, dict):
        raise ApiError(400, f"The body must be a JSON object, {_EXAMPLE}.", code="invalid_json")
    if body.count(b"[") + body.count(b"{") > _MAX_DEPTH and _is_deeper_than(_MAX_DEPTH, content):
        raise _too_deep()
    return _storable(content) if b"\\ud" in body or b"\\uD" in body else content


async def read_body(request: Request) -> bytes:
    """Raises `ApiError`."""
    try:
        return await request.body()
    except ClientDisconnect:
        raise ApiError(400, "The body ended before it was complete.", code="incomplete_body") from None


def _too_deep() -> ApiError:
    return ApiError(400, f"The body is nested more than {_MAX_DEPTH} levels deep.", code="invalid_json")


def _is_deeper_than(levels: int, value: JsonObject) -> bool:
    containers: list[Any] = [value]
    for _ in range(levels):
        containers = [
            child
            for each in containers
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, dict | list)
        ]
    return bool(containers)


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
