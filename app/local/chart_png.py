"""A small PNG with a bar for each value, as Genie's own picture of a result. Pure."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

_WIDTH, _HEIGHT = 640, 320
_WHITE, _BLUE = b"\xff\xff\xff", b"\x1f\x77\xb4"


def bars_png(values: Sequence[float]) -> bytes:
    """Bars from zero up; those below zero have no height."""
    highest = max((value for value in values if value > 0), default=1.0)
    heights = [round(max(0.0, value) / highest * _HEIGHT) for value in values] or [0]
    columns = [heights[x * len(heights) // _WIDTH] for x in range(_WIDTH)]
    # Each line begins with the number of its filter: none.
    lines = (
        b"\x00" + b"".join(_BLUE if height > y else _WHITE for height in columns) for y in reversed(range(_HEIGHT))
    )
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    parts = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(b"".join(lines))), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
