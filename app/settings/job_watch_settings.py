"""The settings of the job watch: which jobs, what may be done about their failures, and by whom."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.common.net import secure_origin
from app.settings.host_environment import HostEnvironment
from app.settings.job_notice_settings import TIME_RANGE
from app.settings.section import GUID, Section, setting
from app.settings.setting_types import SecretUrl, read_json

Mode = Literal["observe", "approve", "auto"]
NO_TIMER = "off"

_MAX_ENTRIES = 200
_MAX_TEXT_CHARACTERS = 300
_NCRONTAB = r"^(off|[0-9A-Za-z*/,-]{1,60}( [0-9A-Za-z*/,-]{1,60}){5})$"
_STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


def _comma_list(value: object) -> object:
    """A list from text: JSON that begins with [, or its parts between commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


class PersonSetting(BaseModel):
    """Somebody by their ids in Microsoft Entra: `tenant/object`, or an object that also has a name and an email."""

    model_config = _STRICT

    tenant: str = Field(pattern=GUID)
    id: str = Field(pattern=GUID)
    name: str = Field("", max_length=_MAX_TEXT_CHARACTERS)
    email: str = Field("", max_length=_MAX_TEXT_CHARACTERS)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        tenant, _, person = value.partition("/")
        return {"tenant": tenant.strip(), "id": person.strip()}


class ParameterSetting(BaseModel):
    """What a job parameter may be changed to; a list is short for `choices`."""

    model_config = _STRICT

    type: Literal["integer", "number", "boolean", "text"]
    min: float | None = None
    max: float | None = None
    choices: tuple[Annotated[str, Field(max_length=_MAX_TEXT_CHARACTERS)], ...] = Field((), max_length=_MAX_ENTRIES)

    @model_validator(mode="before")
    @classmethod
    def _from_choices(cls, value: object) -> object:
        return {"type": "text", "choices": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        has_bounds = self.min is not None and self.max is not None and self.min <= self.max
        if self.type in {"integer", "number"} and not has_bounds:
            raise PydanticCustomError("bounds", "a number needs min and max")
        if self.type == "text" and not self.choices:
            raise PydanticCustomError("choices", "a text needs choices")
        return self


def _email(value: str) -> str:
    name, _, domain = value.strip().rpartition("@")
    if not name or not domain or any(each.isspace() for each in value.strip()):
        raise PydanticCustomError("email", "is not an email address")
    return value.strip()


_LISTED = (BeforeValidator(_comma_list), Field(max_length=_MAX_ENTRIES))
People = Annotated[tuple[PersonSetting, ...], *_LISTED]
Emails = Annotated[tuple[Annotated[str, AfterValidator(_email)], ...], *_LISTED]
JobIds = Annotated[tuple[Annotated[int, Field(gt=0)], ...], *_LISTED]
Parameters = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=_MAX_TEXT_CHARACTERS)], ParameterSetting],
    BeforeValidator(read_json),
    Field(max_length=_MAX_ENTRIES),
]
Attempts = Annotated[int, Field(ge=0, le=100)]
InARow = Annotated[int, Field(ge=1, le=100)]
Minutes = Annotated[float, Field(gt=0, le=60 * 24 * 31)]


class JobSetting(BaseModel):
    """What differs for some jobs; what is left out is as for every job."""

    model_config = _STRICT

    mode: Mode | None = None
    safe: bool | None = None
    allow: Parameters | None = None
    max_retry_attempts: Attempts | None = None
    retry_with_params_attempts: Attempts | None = None
    failures_in_a_row: InARow | None = None
    max_minutes: Minutes | None = None
    max_late_minutes: Minutes | None = None
    approvers: People | None = None
    viewers: People | None = None
    owners: People | None = None
    emails: Emails | None = None
    quiet_hours: Annotated[str, Field(pattern=TIME_RANGE)] | None = None


class JobWatchSettings(Section):
    title: ClassVar[str] = "Job watch: which jobs, and what may be done about their failures"

    mode: Mode = setting(
        "JOB_WATCH_MODE",
        default="observe",
        description="observe: only tells; approve: repairs what a person approved; auto: repairs within limits",
    )
    safe: bool = setting(
        "JOB_WATCH_SAFE",
        default=False,
        description="true where running any job again does no harm, by the word of their owners",
    )
    allow: Parameters = setting(
        "JOB_WATCH_ALLOW",
        default={},
        left_out="no parameter is changed",
        description='job parameters that may be changed, as JSON: {"batch_size": {"type": "integer", "min": 1, "max": '
        '1000}, "env": ["test", "dev"]}; types: integer, number, boolean, text',
    )
    jobs: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=_MAX_TEXT_CHARACTERS)], JobSetting],
        BeforeValidator(read_json),
        Field(max_length=_MAX_ENTRIES),
    ] = setting(
        "JOB_WATCH_JOBS",
        default={},
        left_out="every job is treated alike",
        description='what differs for some jobs, as JSON by id, name pattern or tag: {"123": {"mode": "auto", "safe": '
        'true}, "nightly_*": {"allow": {…}}, "tag:team=data": {"approvers": […], "owners": […], "emails": […]}}; an id '
        "wins over a name, a name over a tag",
    )
    ids: JobIds = setting(
        "JOB_WATCH_IDS",
        default=(),
        left_out="all, or those of the next two",
        description="ids of jobs to watch, with commas between them",
    )
    name_pattern: str = setting(
        "JOB_WATCH_NAME", default="", max_length=_MAX_TEXT_CHARACTERS, description="names of jobs to watch: nightly_*"
    )
    tag: str = setting(
        "JOB_WATCH_TAG",
        default="",
        max_length=_MAX_TEXT_CHARACTERS,
        left_out="without any of the three, every job that is visible",
        description="the tag of jobs to watch: a key, or key=value",
    )
    breaker_jobs: int = setting(
        "JOB_WATCH_BREAKER",
        default=10,
        ge=1,
        le=10_000,
        description="how many jobs may fail in one pass before nothing is repaired automatically (1 to 10000)",
    )
    max_retry_attempts: Attempts = setting(
        "MAX_RETRY_ATTEMPTS", default=3, description="repairs of one run, at most (0 to 100)"
    )
    retry_with_params_attempts: Attempts = setting(
        "RETRY_WITH_PARAMS_ATTEMPTS",
        default=2,
        description="repairs of one run with other parameters, at most (0 to 100)",
    )
    failures_in_a_row: InARow = setting(
        "JOB_FAILURES_IN_A_ROW", default=1, description="failures in a row before anybody is told (1 to 100)"
    )
    max_minutes: Minutes | None = setting(
        "JOB_MAX_MINUTES",
        default=None,
        left_out="too long is measured by the job's own history",
        description="a run that takes longer is told, in minutes (up to 44640)",
    )
    max_late_minutes: Minutes | None = setting(
        "JOB_MAX_LATE_MINUTES",
        default=None,
        left_out="nothing is late",
        description="a job that has not started so long after its schedule says is told, in minutes (up to 44640)",
    )
    approvers: People = setting(
        "JOB_APPROVERS",
        default=(),
        left_out="nobody",
        description="who may approve: tenant id/object id in Entra, with commas between people",
    )
    viewers: People = setting(
        "JOB_VIEWERS",
        default=(),
        left_out="people whom the job's permissions allow to see it",
        description="who may watch jobs in a chat: tenant id/object id in Entra, with commas between people",
    )
    emails: Emails = setting(
        "JOB_ESCALATION_EMAILS",
        default=(),
        left_out="nobody",
        description="whom failures are mailed to, with commas between addresses",
    )
    model_calls_per_hour: int = setting(
        "JOB_MODEL_CALLS_PER_HOUR",
        default=60,
        ge=0,
        le=10_000,
        description="how often the model is asked about failures in an hour, at most (0 to 10000)",
    )
    host: str = setting(
        "DATABRICKS_HOST",
        default="",
        left_out="the workspace of `DATABRICKS_BASE_URL`",
        description="the workspace whose jobs are watched, for example https://adb-1.2.azuredatabricks.net",
    )
    store: SecretStr | None = setting(
        "JOB_WATCH_STORE",
        default=None,
        left_out="the app's own storage; elsewhere none: nothing is repaired",
        description="where incidents are kept, and shared with the bot: a file of this machine, the storage account's "
        "connection string, or https://<account>.table.core.windows.net",
    )
    schedule: str = setting(
        "JOB_WATCH_SCHEDULE",
        default="0 */5 * * * *",
        pattern=_NCRONTAB,
        description="when the Function App looks at the jobs, as NCRONTAB with six fields, or off; it looks where any "
        "setting that begins with JOB_WATCH_ is there",
    )
    notification_username: str = setting(
        "JOB_NOTIFICATION_USERNAME",
        default="",
        pattern=r"^[!-9;-~]{0,100}$",
        description="the user name with which Databricks' notification webhook calls /api/job-notifications",
    )
    notification_password: SecretStr | None = setting(
        "JOB_NOTIFICATION_PASSWORD",
        default=None,
        min_length=12,
        left_out="no webhook is taken",
        description="that webhook's password, of at least 12 ASCII characters",
    )
    events_token: SecretStr | None = setting(
        "JOB_EVENTS_TOKEN",
        default=None,
        min_length=16,
        left_out="one that `job-watch serve` says",
        description="the bearer token for the events of `job-watch serve`, of at least 16 ASCII characters",
    )
    heartbeat_url: SecretUrl | None = setting(
        "JOB_WATCH_HEARTBEAT_URL",
        default=None,
        left_out="no heartbeat",
        description="an address that is called after every pass, so that a silent watcher is noticed",
    )

    @field_validator("host")
    @classmethod
    def _is_a_workspace(cls, value: str) -> str:
        url = value.strip()
        return secure_origin(url if "://" in url else f"https://{url}") if url else ""

    @field_validator("notification_password")
    @classmethod
    def _is_ascii(cls, value: SecretStr | None) -> SecretStr | None:
        # Clients do not agree on how others are written in Basic credentials: UTF-8 or Latin-1.
        text = value.get_secret_value() if value is not None else ""
        if not (text.isascii() and text.isprintable()):
            raise PydanticCustomError("password", "has characters beyond ASCII")
        return value

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        pair = ("JOB_NOTIFICATION_USERNAME", "JOB_NOTIFICATION_PASSWORD")
        missing = [name for name in pair if name not in given]
        if len(missing) == 1:
            yield f"{missing[0]}: missing; the notification webhook signs in with both"
