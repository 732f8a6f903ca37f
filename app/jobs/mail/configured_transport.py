"""The mail transport that the settings name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.config import SettingsError
from app.jobs.mail.entra_token import GRAPH_SCOPE, LOGIN_URL, SMTP_SCOPE, EntraClientCredentials
from app.jobs.mail.graph_transport import GRAPH_URL, GraphTransport
from app.jobs.mail.mail_transport import AccessToken, MailTransport
from app.jobs.mail.smtp_transport import SmtpTransport
from app.settings.mail_settings import MailSettings


@dataclass(frozen=True, slots=True)
class _Cloud:
    login_url: str
    graph_url: str
    smtp_scope: str

    @property
    def graph_scope(self) -> str:
        return GRAPH_SCOPE.replace(GRAPH_URL, self.graph_url)


# https://learn.microsoft.com/graph/deployments
_CLOUDS: Final = {
    "public": _Cloud(LOGIN_URL, GRAPH_URL, SMTP_SCOPE),
    "gcc-high": _Cloud(
        "https://login.microsoftonline.us", "https://graph.microsoft.us", "https://outlook.office365.us/.default"
    ),
    "dod": _Cloud(
        "https://login.microsoftonline.us",
        "https://dod-graph.microsoft.us",
        "https://outlook-dod.office365.us/.default",
    ),
}


def configured_transport(settings: MailSettings) -> MailTransport:
    """SMTP where there is a server, else Microsoft Graph. Raises `SettingsError`."""
    if not settings.is_configured:
        raise SettingsError(["SENDER_EMAIL, SMTP_SERVER: missing; mails go from an address to a mail server"])
    cloud = _CLOUDS[settings.cloud]
    try:
        if not settings.server:
            token = _token(settings, cloud, cloud.graph_scope)
            if token is None:
                raise SettingsError(["MAIL_CLIENT_SECRET: missing; Microsoft Graph asks for a sign-in"])
            return GraphTransport(settings.sender, token, graph_url=cloud.graph_url)
        return SmtpTransport(
            settings.server,
            settings.sender,
            port=settings.port,
            password=settings.password,
            access_token=None if settings.password is not None else _token(settings, cloud, cloud.smtp_scope),
        )
    except ValueError as error:
        raise SettingsError([f"SMTP_SERVER, SENDER_EMAIL: {error}"]) from None


def _token(settings: MailSettings, cloud: _Cloud, scope: str) -> AccessToken | None:
    if settings.tenant_id is None or settings.client_id is None or settings.client_secret is None:
        return None
    credentials = EntraClientCredentials(
        settings.tenant_id, settings.client_id, settings.client_secret, scope, login_url=cloud.login_url
    )
    return credentials.token
