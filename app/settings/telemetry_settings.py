"""The settings of telemetry: where traces and metrics go, and whether they hold what people wrote."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import SecretStr, field_validator
from pydantic_core import PydanticCustomError

from app.settings.section import GUID, Section, setting


class TelemetrySettings(Section):
    title: ClassVar[str] = "Telemetry"

    connection_string: SecretStr | None = setting(
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        left_out="traces and metrics go to the console",
        default=None,
        description="the connection string of Application Insights, where traces and metrics go",
    )
    authentication: str | None = setting(
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
        left_out="the key in the connection string",
        default=None,
        pattern=r"^Authorization=AAD(;ClientId=[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})?$",
        description="Authorization=AAD;ClientId=<id of the managed identity>, where Application Insights takes no key",
    )
    records_text: bool = setting(
        "TELEMETRY_RECORDS_TEXT",
        default=False,
        description="true to keep questions and answers in the traces",
    )

    @property
    def client_id(self) -> str | None:
        """Of the managed identity that signs in; None for the system-assigned one."""
        return (self.authentication or "").partition("ClientId=")[2] or None

    @field_validator("connection_string")
    @classmethod
    def _names_a_component(cls, value: SecretStr | None) -> SecretStr | None:
        parts = dict(
            part.strip().split("=", 1) for part in (value.get_secret_value() if value else "").split(";") if "=" in part
        )
        if value is not None and not re.fullmatch(GUID.strip("^$"), parts.get("InstrumentationKey", "")):
            raise PydanticCustomError("connection_string", "has no InstrumentationKey")
        return value
