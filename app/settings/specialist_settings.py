"""The settings of specialists: other serving endpoints that the agent may ask."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.settings.section import Section, setting
from app.settings.setting_types import read_json

MAX_SPECIALISTS = 20


class Specialist(BaseModel):
    """`description` tells the model when to ask it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,40}$")
    endpoint: str = Field(min_length=1, max_length=200)
    description: str = Field("", max_length=1000)


def _distinct(specialists: tuple[Specialist, ...]) -> tuple[Specialist, ...]:
    if len({each.name for each in specialists}) < len(specialists):
        raise PydanticCustomError("names", "each specialist needs a name of its own")
    return specialists


_Specialists = Annotated[
    tuple[Specialist, ...], BeforeValidator(read_json), Field(max_length=MAX_SPECIALISTS), AfterValidator(_distinct)
]


class SpecialistSettings(Section):
    title: ClassVar[str] = "Specialists: other endpoints that the agent may ask"

    specialists: _Specialists = setting(
        "SPECIALISTS",
        default=(),
        left_out="no specialist",
        description='serving endpoints as JSON: [{"name": …, "endpoint": …, "description": …}]',
    )
