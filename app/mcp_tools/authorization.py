"""Which bearer token a server is sent. A Databricks token goes to the workspace and to apps on Databricks alone."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from app.common.identity import RequestIdentity
from app.common.net import secure_origin
from app.databricks.workspace_client import WorkspaceClient

# https://docs.databricks.com/aws/en/dev-tools/databricks-apps/connect-local
_APPS_DOMAIN = ".databricksapps.com"


class Authorization(Protocol):
    """`personal`: the token depends on who asks."""

    personal: bool

    async def token(self, identity: RequestIdentity) -> str:
        """ "" for none. Raises CredentialError."""
        ...

    def forget(self, identity: RequestIdentity, token: str) -> bool:
        """The server refused the token: whether asking again can give another."""
        ...


class FixedSecret:
    """A secret of the server's own, or none."""

    personal = False

    def __init__(self, secret: SecretStr | None = None) -> None:
        self._secret = secret

    async def token(self, identity: RequestIdentity) -> str:
        return self._secret.get_secret_value() if self._secret else ""

    def forget(self, identity: RequestIdentity, token: str) -> bool:
        return False


class WorkspaceToken:
    personal = True

    def __init__(self, workspace: WorkspaceClient) -> None:
        self._workspace = workspace

    async def token(self, identity: RequestIdentity) -> str:
        return await self._workspace.token(identity)

    def forget(self, identity: RequestIdentity, token: str) -> bool:
        return self._workspace.forget_token(identity, token)


def authorization_for(url: str, workspace: WorkspaceClient, secret: SecretStr | None) -> Authorization:
    """`url` is what the administrator wrote: an app's host is trusted as it stands there, no other of its domain."""
    if secret is None and (_origin(url) == _origin(workspace.url.host) or _is_app(url)):
        return WorkspaceToken(workspace)
    return FixedSecret(secret)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(secure_origin(url))
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def _is_app(url: str) -> bool:
    scheme, host, port = _origin(url)
    return scheme == "https" and port == 443 and host.endswith(_APPS_DOMAIN) and host != _APPS_DOMAIN[1:]
