"""The bot's own tokens for the Bot Framework, cached and renewed before they expire.

msal blocks: it runs in a thread, and is imported when the first token is needed.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pydantic import SecretStr

from app.bot.auth.bot_identity import BotIdentity, addresses_of
from app.common.renewing_token import IssuedToken, RenewingToken


class TokenError(Exception):
    """No token could be fetched. The text holds no secret and no part of a token."""


class TokenRefusedError(TokenError):
    """Microsoft Entra does not accept the bot's configured identity: a retry does not help."""


class TokenUnreachableError(TokenError):
    """Microsoft Entra did not answer, or failed: a retry may help."""


class AppCredentials:
    """`http_client` makes what msal sends with, a `requests.Session`; `time_limit` in seconds for one token."""

    def __init__(
        self,
        identity: BotIdentity,
        *,
        http_client: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        time_limit_seconds: float = 15.0,
    ) -> None:
        self._identity = identity
        self._addresses = addresses_of(identity.cloud)
        self._new_http_client = http_client
        self._time_limit_seconds = time_limit_seconds
        self._token = RenewingToken("The bot's token", self._fetch, clock=clock)
        self._client: Any = None
        self._thread: ThreadPoolExecutor | None = None

    async def token(self) -> str | None:
        """None without an app id. Raises `TokenError`."""
        return await self._token.get() if self._identity.app_id else None

    def forget(self, token: str) -> None:
        """Drops a token that the channel refused, so that the next one is fetched anew."""
        if self._token.forget(token):
            # A new client: msal would return the same token from its cache.
            self._client = None

    async def close(self) -> None:
        await self._token.close()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    async def _fetch(self) -> IssuedToken:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bot-token")
        try:
            async with asyncio.timeout(self._time_limit_seconds):
                answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._acquire)
        except TimeoutError:
            raise TokenUnreachableError("Microsoft Entra did not answer in time") from None
        value, expires_in = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(value, str) or not str(expires_in).isdecimal():
            raise _failure_of(answer)
        return IssuedToken(SecretStr(value), float(str(expires_in)))

    def _acquire(self) -> dict[str, Any]:
        """Runs in the thread."""
        from msal.exceptions import MsalServiceError  # noqa: PLC0415 - not needed before the first token

        try:
            if self._client is None:
                self._client = self._new_client()
            resource = self._addresses.connector_resource
            if self._identity.app_type == "UserAssignedMSI":
                answer = self._client.acquire_token_for_client(resource=resource)
            else:
                answer = self._client.acquire_token_for_client(scopes=[f"{resource}/.default"])
        except (OSError, MsalServiceError) as error:  # every failure of requests is the former
            raise TokenUnreachableError(f"Microsoft Entra cannot be reached ({type(error).__name__})") from None
        except Exception as error:  # msal has no type of its own for a tenant that does not exist, among others
            raise TokenRefusedError(f"msal cannot get a token for the bot ({type(error).__name__})") from None
        return answer if isinstance(answer, dict) else {}

    def _new_client(self) -> Any:  # noqa: ANN401 - one of two clients of msal
        import msal  # noqa: PLC0415 - not needed before the first token

        clients: Any = msal  # which has no types
        http_client = self._new_http_client() if self._new_http_client else _http_client(self._time_limit_seconds)
        identity = self._identity
        if identity.app_type == "UserAssignedMSI":
            managed = clients.UserAssignedManagedIdentity(client_id=identity.app_id)
            return clients.ManagedIdentityClient(managed, http_client=http_client)
        tenant = identity.own_tenant_only or self._addresses.multi_tenant_login
        return clients.ConfidentialClientApplication(
            identity.app_id,
            client_credential=identity.password.get_secret_value() if identity.password else None,
            authority=f"{self._addresses.login}/{tenant}",
            http_client=http_client,
        )


def _http_client(time_limit_seconds: float) -> Any:  # noqa: ANN401 - requests.Session
    import requests  # noqa: PLC0415 - msal needs it

    session = requests.Session()
    # requests has no time limit of its own, for a session neither.
    session.request = partial(session.request, timeout=time_limit_seconds)  # type: ignore[method-assign]
    return session


def _failure_of(answer: dict[str, Any]) -> TokenError:
    # Only the codes: the description may repeat what was sent.
    # https://learn.microsoft.com/entra/identity-platform/reference-error-codes
    error = re.sub(r"[^a-z_]", "", str(answer.get("error", "")).lower())[:40] or "no token in the answer"
    codes = re.findall(r"AADSTS\d{1,9}", str(answer.get("error_description", "")))[:1]
    text = f"Microsoft Entra issued no token for the bot ({' '.join([error, *codes])})"
    temporary = error in {"temporarily_unavailable", "server_error", "timeout", "too_many_requests"}
    return TokenUnreachableError(text) if temporary else TokenRefusedError(text)
