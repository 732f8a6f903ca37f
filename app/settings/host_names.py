"""Names of hosts in a setting."""

from __future__ import annotations

import re

from pydantic_core import PydanticCustomError


def read_host_names(value: object) -> object:
    """From the text of a setting, with commas between them."""
    if not isinstance(value, str):
        return value
    names = frozenset(name.strip().lower() for name in value.split(","))
    if not all(len(name) <= 253 and re.fullmatch(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*", name) for name in names):
        raise PydanticCustomError("hosts", "must be names of hosts, with commas between them")
    return names
