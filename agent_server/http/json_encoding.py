"""JSON as it leaves the server: ASCII, so that no client splits a line of a stream at U+2028 or U+0085."""

from __future__ import annotations

import json
import math
from typing import Any

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def json_bytes(value: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A number that JSON does not have becomes null. Raises `TypeError` for what is no JSON at all."""
    try:
        return _encode(value).encode("ascii")
    except ValueError:
        return _encode(_without_nan(value)).encode("ascii")


def _without_nan(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return value
