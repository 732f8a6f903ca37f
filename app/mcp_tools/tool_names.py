"""The names by which a model knows the tools of MCP servers."""

from __future__ import annotations

import hashlib
import re

_MAX_CHARACTERS = 64
_DIGEST_CHARACTERS = 8
_REFUSED = re.compile(r"[^A-Za-z0-9_-]")


def model_name(server: str, tool: str) -> str:
    """Of at most 64 characters, the same at every time, and of no other tool: `server` has no `__` in it."""
    name = f"{server}__{_REFUSED.sub('_', tool)}"
    if name == f"{server}__{tool}" and len(name) <= _MAX_CHARACTERS:
        return name
    digest = hashlib.sha256(f"{server}\0{tool}".encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{name[: _MAX_CHARACTERS - _DIGEST_CHARACTERS - 1]}_{digest}"
