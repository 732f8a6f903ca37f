"""The settings of what programs and other services are told about failed jobs, and of when people are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import time
from typing import ClassVar
from zoneinfo import ZoneInfo

from pydantic import SecretStr, field_validator
from pydantic_core import PydanticCustomError

from app.common.net import secure_origin
from app.settings.host_environment import HostEnvironment
from app.settings.section import Section, setting
from app.settings.setting_types import SecretUrl

_TIME = r"([01]\d|2[0-3]):[0-5]\d"
TIME_RANGE = f"^({_TIME}-{_TIME})?$"


class JobNoticeSettings(Section):
    title: ClassVar[str] = "Notices about failed jobs: webhooks, incidents elsewhere, quiet hours"

    webhook_url: SecretUrl | None = setting(
        "JOB_WEBHOOK_URL",
        default=None,
        left_out="no webhook",
        description="the address that every notice is posted to as signed JSON",
    )
    webhook_secret: SecretStr | None = setting(
        "JOB_WEBHOOK_SECRET",
        default=None,
        min_length=16,
        description="the secret that these posts are signed with, of at least 16 characters",
    )
    slack_webhook_url: SecretUrl | None = setting(
        "SLACK_WEBHOOK_URL", default=None, left_out="no Slack", description="an incoming webhook of Slack"
    )
    pagerduty_routing_key: SecretStr | None = setting(
        "PAGERDUTY_ROUTING_KEY",
        default=None,
        left_out="no PagerDuty",
        description="the integration key of a PagerDuty service (Events API v2), 32 letters and digits",
    )
    pagerduty_url: str = setting(
        "PAGERDUTY_URL",
        default="https://events.pagerduty.com",
        description="where PagerDuty takes events, for example https://events.eu.pagerduty.com",
    )
    ticket_url: SecretUrl | None = setting(
        "TICKET_URL",
        default=None,
        left_out="no tickets",
        description="where a ticket is made by a POST, for example https://<instance>.service-now.com/api/now/table/incident",
    )
    ticket_authorization: SecretStr | None = setting(
        "TICKET_AUTHORIZATION", default=None, description="the Authorization header of that POST"
    )
    ticket_template: str = setting(
        "TICKET_TEMPLATE",
        default="",
        max_length=8000,
        left_out="a template for ServiceNow",
        description="the JSON of a ticket, with {job}, {cause} and so on in its values",
    )
    digest_time: str = setting(
        "JOB_DIGEST_AT",
        default="",
        pattern=f"^({_TIME})?$",
        left_out="no digest",
        description="the time of day at which a digest is sent, such as 08:00",
    )
    quiet_hours: str = setting(
        "JOB_QUIET_HOURS",
        default="",
        pattern=TIME_RANGE,
        left_out="none",
        description="when chats are not written to, such as 22:00-07:00; what was held back is told afterwards",
    )
    time_zone: str = setting("JOB_TIME_ZONE", default="UTC", description="the time zone of both, such as Europe/Berlin")

    @property
    def digest_at(self) -> time | None:
        return time.fromisoformat(self.digest_time) if self.digest_time else None

    @field_validator("pagerduty_routing_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and re.fullmatch("[A-Za-z0-9]{32}", value.get_secret_value()) is None:
            raise PydanticCustomError("routing_key", "is no integration key")
        return value

    @field_validator("pagerduty_url")
    @classmethod
    def _is_an_origin(cls, value: str) -> str:
        return secure_origin(value.strip())

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise PydanticCustomError("time_zone", "is no time zone") from None
        return value

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        if "JOB_WEBHOOK_URL" in given and "JOB_WEBHOOK_SECRET" not in given:
            yield "JOB_WEBHOOK_SECRET: missing; what is posted is signed with it"
        if "TICKET_AUTHORIZATION" in given and "TICKET_URL" not in given:
            yield "TICKET_URL: missing; tickets are made there"
