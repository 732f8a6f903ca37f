"""A section of `app.config`: settings that belong together, with the checks between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from app.settings.host_environment import HostEnvironment

GUID = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"


def setting(name: str, *, left_out: str = "", **field: Any) -> Any:  # noqa: ANN401 - Field's own signature
    """`name` is that in the environment, `description` says what to put there, and `left_out` what applies without it.

    docs/settings.md is made of them.
    """
    return Field(validation_alias=name, json_schema_extra={"left_out": left_out}, **field)


class Section(BaseModel):
    """Every field is a `setting`. `title` is its heading in docs/settings.md."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    title: ClassVar[str]

    @classmethod
    def setting_names(cls) -> dict[str, str]:
        """The name of each setting in the environment, and what to put there."""
        return {str(field.validation_alias): field.description or "" for field in cls.model_fields.values()}

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        """What is wrong between settings, one line each: the name of the setting to change, a colon, and why.

        `given` holds the settings that are not empty, as they are in the environment: they are checked here even where
        one of them is not valid by itself, so that every problem is reported at once.
        """
        yield from ()
