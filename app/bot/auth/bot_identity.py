"""The bot's identity, and the addresses of its cloud."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

from app.settings.bot_settings import BotAppType, BotCloud

# The tenants whose tokens the Bot Framework Emulator brings (botframework.connector.auth.EmulatorValidation).
_BOT_FRAMEWORK: Final = "d6d49420-f39b-4df7-a1dc-d59a935871db"
_MICROSOFT_SERVICES: Final = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"
_MICROSOFT: Final = "72f988bf-86f1-41af-91ab-2d7cd011db47"
_US_GOVERNMENT: Final = "cab8a31a-1906-4287-a0d8-4eef66b95f6e"


@dataclass(frozen=True, slots=True)
class BotIdentity:
    """A bot without `app_id` talks to its own machine only. `password` is not used with UserAssignedMSI.

    `channels` may call; `accepts_emulator` allows the Bot Framework Emulator too, which signs in as the bot itself.
    """

    app_id: str | None = None
    app_type: BotAppType = "UserAssignedMSI"
    tenant_id: str | None = None
    password: SecretStr | None = None
    cloud: BotCloud = "public"
    channels: frozenset[str] = frozenset({"msteams"})
    accepts_emulator: bool = False

    @property
    def allowed_channels(self) -> frozenset[str]:
        return self.channels | {"emulator"} if self.accepts_emulator else self.channels

    @property
    def own_tenant_only(self) -> str | None:
        """The only tenant that the bot serves; None for a multi-tenant bot."""
        return None if self.app_type == "MultiTenant" else self.tenant_id


@dataclass(frozen=True, slots=True)
class CloudAddresses:
    """`service_hosts` are whole host names, `service_domains` domains whose subdomains belong to the Bot Framework."""

    channel_issuer: str
    channel_metadata: str
    login: str
    login_metadata: str
    login_tenants: tuple[str, ...]
    multi_tenant_login: str
    connector_resource: str
    user_token_service: str
    caller_id: str
    service_hosts: frozenset[str] = field(default_factory=frozenset)
    service_domains: tuple[str, ...] = ()

    def login_issuers(self, tenant: str) -> tuple[str, str, str]:
        """The issuers in tokens of version 1 and 2 of that tenant, which name it in lower case."""
        tenant = tenant.lower()
        return f"https://sts.windows.net/{tenant}/", f"{self.login}/{tenant}/", f"{self.login}/{tenant}/v2.0"


# botframework.connector.auth.{AuthenticationConstants,GovernmentConstants}; hosts and token services as
# microsoft/teams.ts `CloudEnvironment` has them, Web Chat and Direct Line as the Bot Service documents them.
_PUBLIC = CloudAddresses(
    channel_issuer="https://api.botframework.com",
    channel_metadata="https://login.botframework.com/v1/.well-known/openidconfiguration",
    login="https://login.microsoftonline.com",
    login_metadata="https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration",
    login_tenants=(_BOT_FRAMEWORK, _MICROSOFT_SERVICES, _MICROSOFT),
    multi_tenant_login="botframework.com",
    connector_resource="https://api.botframework.com",
    user_token_service="https://token.botframework.com",  # noqa: S106 - an address
    caller_id="urn:botframework:azure",
    service_hosts=frozenset(
        {
            "smba.trafficmanager.net",
            "smba.onyx.prod.teams.trafficmanager.net",
            "smba.infra.gcc.teams.microsoft.com",
        }
    ),
    service_domains=("botframework.com",),
)


def _us_government(teams_host: str, user_token_service: str) -> CloudAddresses:
    return CloudAddresses(
        channel_issuer="https://api.botframework.us",
        channel_metadata="https://login.botframework.azure.us/v1/.well-known/openidconfiguration",
        login="https://login.microsoftonline.us",
        login_metadata=f"https://login.microsoftonline.us/{_US_GOVERNMENT}/v2.0/.well-known/openid-configuration",
        login_tenants=(_US_GOVERNMENT, _MICROSOFT_SERVICES),
        multi_tenant_login="MicrosoftServices.onmicrosoft.us",
        connector_resource="https://api.botframework.us",
        user_token_service=user_token_service,
        caller_id="urn:botframework:azureusgov",
        service_hosts=frozenset({teams_host}),
        service_domains=("botframework.azure.us",),
    )


_CLOUDS: Final[dict[BotCloud, CloudAddresses]] = {
    "public": _PUBLIC,
    "gcc-high": _us_government("smba.infra.gov.teams.microsoft.us", "https://tokengcch.botframework.azure.us"),
    "dod": _us_government("smba.infra.dod.teams.microsoft.us", "https://apiDoD.botframework.azure.us"),
}


def addresses_of(cloud: BotCloud) -> CloudAddresses:
    return _CLOUDS[cloud]
