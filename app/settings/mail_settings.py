"""The settings of mail about failed jobs: an SMTP server, or Microsoft Graph, and who signs in there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from pydantic import SecretStr, field_validator
from pydantic_core import PydanticCustomError

from app.settings.host_environment import HostEnvironment
from app.settings.section import GUID, Section, setting


class MailSettings(Section):
    title: ClassVar[str] = "Mail about failed jobs"

    sender: str = setting(
        "SENDER_EMAIL",
        default="",
        pattern=r"^(|[^@\s]{1,64}@[^@\s]{1,255})$",
        left_out="nothing is mailed",
        description="the address that mails come from",
    )
    server: str = setting(
        "SMTP_SERVER",
        default="",
        pattern=r"^[A-Za-z0-9.:-]{0,255}$",
        left_out="Microsoft Graph, where `MAIL_CLIENT_ID` is set",
        description="the mail server, for example smtp.office365.com",
    )
    port: int = setting(
        "SMTP_PORT",
        default=587,
        ge=1,
        le=65535,
        description="its port (1 to 65535): 465 for TLS from the start; every other needs STARTTLS",
    )
    password: SecretStr | None = setting(
        "SENDER_PASSWORD",
        default=None,
        left_out="the application below, or no sign-in",
        description="the sender's password; Exchange Online takes none any more",
    )
    tenant_id: str | None = setting(
        "MAIL_TENANT_ID", default=None, pattern=GUID, description="the Entra tenant of the mailbox, a GUID"
    )
    client_id: str | None = setting(
        "MAIL_CLIENT_ID",
        default=None,
        pattern=GUID,
        description="an application in Entra that may send as the mailbox (Mail.Send, or SMTP.SendAsApp), a GUID",
    )
    client_secret: SecretStr | None = setting(
        "MAIL_CLIENT_SECRET", default=None, description="that application's secret"
    )
    cloud: Literal["public", "gcc-high", "dod"] = setting(
        "MAIL_CLOUD", default="public", description="the cloud of the mailbox: public, gcc-high or dod"
    )

    @property
    def is_configured(self) -> bool:
        return bool(self.sender and (self.server or self.client_id))

    @field_validator("sender")
    @classmethod
    def _is_ascii(cls, value: str) -> str:
        if not value.rpartition("@")[2].isascii():
            raise PydanticCustomError("domain", "has a domain beyond ASCII")
        return value

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        application = ("MAIL_TENANT_ID", "MAIL_CLIENT_ID", "MAIL_CLIENT_SECRET")
        missing = [name for name in application if name not in given]
        if 0 < len(missing) < len(application):
            for name in missing:
                yield f"{name}: missing; an application that mails has a tenant, an id and a secret"
        if "SENDER_EMAIL" in given and "SMTP_SERVER" not in given and missing:
            yield "SMTP_SERVER: missing; mails go to a mail server, or to Microsoft Graph by MAIL_CLIENT_ID"
        if "SENDER_EMAIL" not in given and ("SMTP_SERVER" in given or "MAIL_CLIENT_ID" in given):
            yield "SENDER_EMAIL: missing; mails need an address that they come from"
