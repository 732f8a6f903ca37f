"""How the app signs in to the Databricks workspace. The first credential that is configured is used."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
from pydantic import SecretStr

from app.common.http_body import json_object, read_beginning
from app.common.http_session import HttpSession
from app.common.log_text import one_line
from app.common.renewing_token import IssuedToken, RenewingToken
from app.databricks.workspace_errors import CredentialError
from app.translation import Sentence

if TYPE_CHECKING:
    from databricks.sdk.config import Config

AZURE_DATABRICKS_RESOURCE = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"
MANAGED_IDENTITY = "azure-managed-identity"
TOKEN_TIMEOUT_SECONDS = 20
SDK_TIMEOUT_SECONDS = 60
MAX_TOKEN_REPLY_BYTES = 64 * 1024

_log = logging.getLogger(__name__)


class Credential(Protocol):
    @property
    def name(self) -> str:
        """The kind of sign-in, for the log and for people."""
        ...

    async def token(self) -> str:
        """A bearer token that is valid now. Raises CredentialError."""
        ...

    def forget(self, token: str) -> bool:
        """The workspace refused this token: whether asking again can give another."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class CredentialChoice:
    """What is configured. `managed_identity_client_id` is that of the app's own identity, used where
    `client_id` names no other."""

    token: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    auth_type: str | None = None
    config_profile: str | None = None
    managed_identity_client_id: str | None = None


def choose_credential(host: str, choice: CredentialChoice) -> Credential:
    """First configured wins: personal access token, service principal, managed identity, what databricks-sdk finds."""
    if choice.token is not None:
        return PersonalAccessToken(choice.token)
    if choice.client_id and choice.client_secret is not None:
        return ServicePrincipal(host, choice.client_id, choice.client_secret)
    if (choice.auth_type or "").lower() == MANAGED_IDENTITY:
        return ManagedIdentity(choice.client_id or choice.managed_identity_client_id)
    return SdkCredential(host, auth_type=choice.auth_type, profile=choice.config_profile)


class PersonalAccessToken:
    name = Sentence("personal access token").english

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token.get_secret_value()

    def forget(self, token: str) -> bool:
        return False

    async def close(self) -> None:
        pass


class ServicePrincipal:
    """OAuth for machines: https://docs.databricks.com/aws/en/dev-tools/auth/oauth-m2m"""

    name = Sentence("OAuth service principal").english

    def __init__(
        self, host: str, client_id: str, client_secret: SecretStr, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = f"{host}/oidc/v1/token"
        self._client_id = client_id
        self._client_secret = client_secret
        self._token = RenewingToken("The Databricks token", self._fetch, clock=clock)

    async def token(self) -> str:
        return await self._token.get()

    def forget(self, token: str) -> bool:
        self._token.forget(token)
        return True

    async def close(self) -> None:
        await self._token.close()

    async def _fetch(self) -> IssuedToken:
        try:
            login = aiohttp.encode_basic_auth(self._client_id, self._client_secret.get_secret_value())
        except ValueError as error:
            raise CredentialError("DATABRICKS_CLIENT_ID is not a client id") from error
        http = HttpSession(proxy_for=self._url)
        try:
            async with http.get().post(
                self._url,
                data={"grant_type": "client_credentials", "scope": "all-apis"},
                headers={"Authorization": login},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=TOKEN_TIMEOUT_SECONDS),
            ) as response:
                body = (
                    json_object((await read_beginning(response, MAX_TOKEN_REPLY_BYTES)).decode(errors="replace")) or {}
                )
                if response.status != 200:
                    raise CredentialError(f"HTTP {response.status} from {self._url}: {self._reason(body)}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CredentialError(f"{self._url} did not answer: {type(error).__name__}") from error
        finally:
            await http.close()
        return _issued_token(body, self._url)

    def _reason(self, body: Mapping[str, Any]) -> str:
        return _oauth_error(body, hiding=self._client_secret)


class ManagedIdentity:
    """A token for `resource` from the host's managed identity, through msal (its client blocks: a thread)."""

    name = Sentence("Azure managed identity").english

    def __init__(
        self,
        client_id: str | None,
        *,
        resource: str = AZURE_DATABRICKS_RESOURCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client_id = client_id
        self._resource = resource
        name = "The Databricks token" if resource == AZURE_DATABRICKS_RESOURCE else f"The token for {resource}"
        self._token = RenewingToken(name, self._fetch, clock=clock)

    async def token(self) -> str:
        return await self._token.get()

    def forget(self, token: str) -> bool:
        self._token.forget(token)
        return True

    async def close(self) -> None:
        await self._token.close()

    async def _fetch(self) -> IssuedToken:
        try:
            async with asyncio.timeout(TOKEN_TIMEOUT_SECONDS):
                result = await asyncio.to_thread(self._ask_msal)
        except TimeoutError as error:
            raise CredentialError("the managed identity endpoint did not answer: is this running in Azure?") from error
        except Exception as error:
            # msal lets the exceptions of requests, of json and its own through.
            raise CredentialError(f"no token from the managed identity endpoint: {type(error).__name__}") from error
        return _issued_token(result, "the managed identity endpoint")

    def _ask_msal(self) -> Mapping[str, Any]:
        import requests  # noqa: PLC0415 - with msal 0.3 s that only this credential pays
        from msal import managed_identity as msal  # noqa: PLC0415

        identity: Any = (
            msal.UserAssignedManagedIdentity(client_id=self._client_id)  # type: ignore[no-untyped-call]
            if self._client_id
            else msal.SystemAssignedManagedIdentity()  # type: ignore[no-untyped-call]
        )
        with requests.Session() as http:
            http.trust_env = False  # the endpoint is on this host, no proxy leads there
            http.request = functools.partial(http.request, timeout=TOKEN_TIMEOUT_SECONDS / 2)  # type: ignore[method-assign]
            client = msal.ManagedIdentityClient(identity, http_client=http)
            result: Mapping[str, Any] = client.acquire_token_for_client(resource=self._resource)
        return result


class SdkCredential:
    """What databricks-sdk finds on a developer's machine: a profile, the Azure CLI, the Databricks CLI.

    The package takes 1.5 s to import, and both making its Config and asking it for a header block: each in a thread.
    """

    def __init__(self, host: str, *, auth_type: str | None = None, profile: str | None = None) -> None:
        self._host = host
        self._auth_type = auth_type
        self._profile = profile
        self._config: Config | None = None
        self._making = asyncio.Lock()

    @property
    def name(self) -> str:
        found = self._config.auth_type if self._config is not None else self._auth_type
        return f"databricks-sdk: {found or 'not asked yet'}"

    async def token(self) -> str:
        try:
            async with asyncio.timeout(SDK_TIMEOUT_SECONDS):
                async with self._making:
                    if self._config is None:
                        self._config = await asyncio.to_thread(self._make_config)
                        _log.info("Databricks credential: %s", self.name)
                header = (await asyncio.to_thread(self._config.authenticate)).get("Authorization", "")
        except TimeoutError as error:
            raise CredentialError("databricks-sdk found no credential in time") from error
        except Exception as error:
            # The SDK raises ValueError, its own errors and those of requests; it masks secrets in their text.
            raise CredentialError(f"databricks-sdk found no credential: {_short(str(error))}") from error
        scheme, _, token = header.partition(" ")
        if scheme != "Bearer" or not token:
            raise CredentialError(f"databricks-sdk signs in with {scheme or 'nothing'}, serving endpoints want a token")
        return token

    def forget(self, token: str) -> bool:
        return False

    async def close(self) -> None:
        pass

    def _make_config(self) -> Config:
        from databricks.sdk.config import Config  # noqa: PLC0415 - 1.5 s that only this credential pays

        return Config(
            host=self._host,
            auth_type=self._auth_type,
            profile=self._profile,
            http_timeout_seconds=10,
            retry_timeout_seconds=10,
        )


def _issued_token(body: Mapping[str, Any], source: str) -> IssuedToken:
    token = body.get("access_token")
    if not isinstance(token, str) or not token:
        raise CredentialError(f"{source} gave no token: {_oauth_error(body)}")
    lifetime = body.get("expires_in")
    return IssuedToken(SecretStr(token), float(lifetime) if isinstance(lifetime, int | float) else 600.0)


def _oauth_error(body: Mapping[str, Any], *, hiding: SecretStr | None = None) -> str:
    said = f"{body.get('error', 'no reason given')} {body.get('error_description', '')}".strip()
    return _short(said.replace(hiding.get_secret_value(), "[secret]") if hiding else said)


def _short(said: str) -> str:
    return one_line(said[:1000])[:300]
