"""The settings of Genie: which spaces answer questions about data, and how long one may take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from app.settings.host_environment import HostEnvironment
from app.settings.section import Section, setting
from app.settings.setting_types import Origin
from app.settings.turn_settings import TurnSettings

MAX_SPACES = 50
ALL_SPACES = "all"


class GenieSpace(BaseModel):
    """`alias` and `description` tell the model what the data is: who may only run a space may not read its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    alias: str = Field("", max_length=200)
    description: str = Field("", max_length=1000)


def _parse(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [{"id": each.strip()} for each in value.split(",") if each.strip()]


def _distinct(spaces: tuple[GenieSpace, ...]) -> tuple[GenieSpace, ...]:
    if len({space.id for space in spaces}) < len(spaces):
        raise PydanticCustomError("ids", "each space is named once")
    return spaces


_Spaces = Annotated[
    tuple[GenieSpace, ...], BeforeValidator(_parse), Field(max_length=MAX_SPACES), AfterValidator(_distinct)
]


class GenieSettings(Section):
    title: ClassVar[str] = "Genie: questions about data"

    spaces: _Spaces = setting(
        "GENIE_SPACES",
        default=(),
        left_out="no Genie space",
        description='the Genie spaces: all, ids with commas, or JSON: [{"id": …, "alias": …, "description": …}]',
    )
    timeout_seconds: float = setting(
        "GENIE_TIMEOUT_SECONDS",
        default=240,
        ge=10,
        le=3600,
        description="the time limit of one question to Genie, in seconds (10 to 3600), below TURN_TIMEOUT_SECONDS",
    )

    agent_mode: bool = setting(
        "GENIE_AGENT_MODE",
        default=False,
        description="whether Genie plans several queries for a question, where the workspace has its agent mode (Beta)",
    )
    base_url: Origin = setting(
        "GENIE_BASE_URL",
        default="",
        left_out="the workspace",
        description="where Genie's API is asked instead of the workspace, such as a cache; it gets the same tokens",
    )
    questions_per_minute: int = setting(
        "GENIE_QUESTIONS_PER_MINUTE",
        default=5,
        ge=1,
        le=1000,
        description="the questions that one Genie space takes in a minute (1 to 1000); others wait in line",
    )
    repeat_seconds: float = setting(
        "GENIE_REPEAT_SECONDS",
        default=600,
        ge=0,
        le=86_400,
        description="for so many seconds the same question runs the known SQL again (0 to 86400; 0 asks Genie always)",
    )

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        names = ("GENIE_TIMEOUT_SECONDS", "TURN_TIMEOUT_SECONDS")
        defaults = (cls.model_fields["timeout_seconds"].default, TurnSettings.model_fields["timeout_seconds"].default)
        try:
            genie, turn = (float(given.get(name, default)) for name, default in zip(names, defaults, strict=True))
        except ValueError:
            return
        if "GENIE_SPACES" in given and not genie < turn:
            yield f"{names[0]}: has to be below {names[1]} ({turn:g}), or an answer ends before Genie's"

    @property
    def uses_all_spaces(self) -> bool:
        return [space.id for space in self.spaces] == [ALL_SPACES]
