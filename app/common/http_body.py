"""Reads an HTTP body within limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp


class BodyTooLargeError(Exception):
    """The body is longer than the limit; its connection is closed."""


async def read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Raises BodyTooLargeError, aiohttp.ClientError and TimeoutError."""
    body = await _read(response, max_bytes + 1)
    if len(body) > max_bytes:
        raise BodyTooLargeError(f"the answer is longer than {max_bytes} bytes")
    return body


async def read_beginning(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The first `max_bytes`, for an error's body. Raises aiohttp.ClientError and TimeoutError."""
    return await _read(response, max_bytes)


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    while len(body) < most and (chunk := await response.content.read(most - len(body))):
        body += chunk
    if len(body) >= most:
        response.close()
    return bytes(body)


def json_object(body: str) -> Mapping[str, Any] | None:
    """None when it is anything else."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
