"""One setting of `app.config`, under the name that it has in the environment."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field

GUID = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"


def setting(name: str, *, left_out: str = "", **field: Any) -> Any:  # noqa: ANN401 - Field's own signature
    """`description` says what to put there and `left_out` what holds without it; docs/settings.md is made of both."""
    return Field(validation_alias=AliasChoices(name), json_schema_extra={"left_out": left_out}, **field)
