"""Kinds of values that several sections have, as they stand in the text of a setting."""

from __future__ import annotations

import json
import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr
from pydantic_core import PydanticCustomError

from app.common.net import secure_origin


def read_json(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


def read_host_names(value: object) -> object:
    """With commas between them."""
    if not isinstance(value, str):
        return value
    names = frozenset(name.strip().lower() for name in value.split(","))
    if not all(len(name) <= 253 and re.fullmatch(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*", name) for name in names):
        raise PydanticCustomError("hosts", "must be names of hosts, with commas between them")
    return names


def _origin(value: str) -> str:
    return secure_origin(value.strip()) if value.strip() else ""


def _secure(url: SecretStr) -> SecretStr:
    secure_origin(url.get_secret_value())
    return url


Origin = Annotated[str, AfterValidator(_origin)]
"""`https://host[:port]` of an address, or empty."""
SecretUrl = Annotated[SecretStr, AfterValidator(_secure)]
"""An address that is itself the permission to use it."""
