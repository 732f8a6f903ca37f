"""Reads what a workspace answers, as far as it can be an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp

MAX_BODY_BYTES = 1024 * 1024


async def read_body(response: aiohttp.ClientResponse) -> str:
    """What is beyond `MAX_BODY_BYTES` is left out, and the connection closed."""
    body = bytearray()
    while len(body) < MAX_BODY_BYTES and (chunk := await response.content.read(MAX_BODY_BYTES - len(body))):
        body += chunk
    return body.decode(errors="replace")


def json_object(text: str) -> Mapping[str, Any] | None:
    """None when it is anything else."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
