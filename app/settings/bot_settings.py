"""The settings of the bot: who it is, and who may call it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

from app.settings.host_environment import HostEnvironment
from app.settings.section import GUID, Section, setting
from app.settings.setting_types import read_host_names

BotAppType = Literal["UserAssignedMSI", "SingleTenant", "MultiTenant"]
BotCloud = Literal["public", "gcc-high", "dod"]


def _channel_names(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = frozenset(name.strip() for name in value.split(","))
    # Teams calls its channel msteams: with `teams` every call would be refused.
    if "teams" in names or not all(re.fullmatch(r"[a-z0-9-]{1,40}", name) for name in names):
        raise PydanticCustomError("channels", "must be names of channels, with commas between them")
    return names


class BotSettings(Section):
    title: ClassVar[str] = "The bot: who it is, who may call it, what it shows"

    app_id: str | None = setting(
        "MicrosoftAppId",
        left_out="on a developer's machine: every caller must be on the same machine",
        default=None,
        pattern=GUID,
        description="the bot's application (client) id, a GUID; required in Azure",
    )
    app_type: BotAppType = setting(
        "MicrosoftAppType", default="UserAssignedMSI", description="UserAssignedMSI, SingleTenant or MultiTenant"
    )
    tenant_id: str | None = setting(
        "MicrosoftAppTenantId",
        left_out="required, except with MultiTenant",
        default=None,
        pattern=GUID,
        description="the tenant of the bot's identity, a GUID",
    )
    password: SecretStr | None = setting(
        "MicrosoftAppPassword",
        left_out="not needed with UserAssignedMSI",
        default=None,
        description="the bot's client secret, with SingleTenant and MultiTenant",
    )
    cloud: BotCloud = setting(
        "BOT_CLOUD", default="public", description="the Teams cloud of the tenant: public, gcc-high or dod"
    )
    channels: Annotated[frozenset[str], BeforeValidator(_channel_names)] = setting(
        "BOT_CHANNELS",
        left_out="msteams",
        default=frozenset({"msteams"}),
        description="the channels that may call, with commas between them: msteams (Copilot too), webchat, directline",
    )
    accepts_emulator_in_azure: bool = setting(
        "BOT_ACCEPTS_EMULATOR",
        left_out="false; on a developer's machine it may call",
        default=False,
        description="true to let the Bot Framework Emulator call in Azure, signed in as the bot",
    )
    image_hosts: Annotated[frozenset[str], BeforeValidator(read_host_names)] = setting(
        "IMAGE_HOSTS",
        left_out="none: every image in an answer becomes a link",
        default=frozenset(),
        description="hosts whose images are shown in answers, with commas between them: charts.example.com",
    )
    sensitivity_label_id: str | None = setting(
        "SENSITIVITY_LABEL_ID",
        left_out="none",
        default=None,
        pattern=GUID,
        description="the id of the Microsoft Purview label that answers in Teams bear, a GUID; it needs its name too",
    )
    sensitivity_label_name: str = setting(
        "SENSITIVITY_LABEL_NAME",
        left_out="answers bear no sensitivity label",
        default="",
        max_length=100,
        description="the name of the sensitivity label that answers in Teams bear, 100 characters at most",
    )
    sensitivity_label_description: str = setting(
        "SENSITIVITY_LABEL_DESCRIPTION",
        left_out="none",
        default="",
        max_length=500,
        description="what the sensitivity label means, shown when it is pointed at, 500 characters at most",
    )

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        if "SENSITIVITY_LABEL_NAME" not in given:
            for name in ("SENSITIVITY_LABEL_ID", "SENSITIVITY_LABEL_DESCRIPTION"):
                if name in given:
                    yield f"SENSITIVITY_LABEL_NAME: missing; {name} needs the label's name"
        if "MicrosoftAppId" not in given:
            if host.in_azure:
                yield "MicrosoftAppId: missing; in Azure the bot never runs without its id"
            return
        app_type = given.get("MicrosoftAppType", "UserAssignedMSI")
        if app_type in {"UserAssignedMSI", "SingleTenant"} and "MicrosoftAppTenantId" not in given:
            yield f"MicrosoftAppTenantId: missing; {app_type} needs the tenant's id"
        if app_type in {"SingleTenant", "MultiTenant"} and "MicrosoftAppPassword" not in given:
            yield f"MicrosoftAppPassword: missing; {app_type} needs the bot's client secret"
