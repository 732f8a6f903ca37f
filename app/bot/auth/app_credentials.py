"""The bot's own tokens for the Bot Framework, cached and renewed before they expire.

msal blocks: it runs in a thread, and is imported when the first token is needed.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.bot.auth.bot_identity import BotIdentity, addresses_of

_log = logging.getLogger(__name__)

# Before a token expires. msal returns no token from its cache in the last five minutes either.
_RENEW_SECONDS_BEFORE = 5 * 60.0
_UNUSABLE_SECONDS_BEFORE = 30.0
_RETRY_AFTER_FAILURE_SECONDS = 10.0


class TokenError(Exception):
    """No token could be fetched. The text holds no secret and no part of a token."""


class TokenRefusedError(TokenError):
    """Microsoft Entra does not accept the bot's configured identity: a retry does not help."""


class TokenUnreachableError(TokenError):
    """Microsoft Entra did not answer, or failed: a retry may help."""


@dataclass(frozen=True, slots=True, repr=False)
class _Token:
    value: str
    expires_at: float


class AppCredentials:
    """`http_client` makes what msal sends with, a `requests.Session`; `time_limit` in seconds for one token."""

    def __init__(
        self,
        identity: BotIdentity,
        *,
        http_client: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        time_limit: float = 15.0,
    ) -> None:
        self._identity = identity
        self._addresses = addresses_of(identity.cloud)
        self._new_http_client = http_client
        self._clock = clock
        self._time_limit = time_limit
        self._token: _Token | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._failed_at: float | None = None
        self._client: Any = None
        self._thread: ThreadPoolExecutor | None = None

    async def token(self) -> str | None:
        """None without an app id. Raises `TokenError`."""
        if not self._identity.app_id:
            return None
        left = self._seconds_left()
        if left <= _RENEW_SECONDS_BEFORE and (left <= _UNUSABLE_SECONDS_BEFORE or not self._failed_just_now()):
            self._start_renewal()
        if left <= _UNUSABLE_SECONDS_BEFORE and self._renewal is not None:
            # Shielded: others wait for the same renewal.
            await asyncio.shield(self._renewal)
        if self._token is None:
            raise TokenUnreachableError("the bot's token could not be fetched")
        return self._token.value

    def forget(self, token: str) -> None:
        """Drops a token that the channel refused, so that the next one is fetched anew."""
        if self._token is not None and self._token.value == token:
            self._token = None
            # A new client: msal would return the same token from its cache.
            self._client = None

    async def close(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    def _seconds_left(self) -> float:
        return 0.0 if self._token is None else self._token.expires_at - self._clock()

    def _failed_just_now(self) -> bool:
        return self._failed_at is not None and self._clock() - self._failed_at < _RETRY_AFTER_FAILURE_SECONDS

    def _start_renewal(self) -> None:
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew())
            self._renewal.add_done_callback(self._renewal_ended)

    def _renewal_ended(self, task: asyncio.Task[None]) -> None:
        self._renewal = None
        if task.cancelled() or (failure := task.exception()) is None:
            return
        self._failed_at = self._clock()
        if self._seconds_left() > _UNUSABLE_SECONDS_BEFORE:
            # Otherwise a caller waits for the renewal, and gets its error.
            _log.warning("The bot's token could not be renewed in time: %s", failure)

    async def _renew(self) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bot-token")
        try:
            async with asyncio.timeout(self._time_limit):
                answer = await asyncio.get_running_loop().run_in_executor(self._thread, self._acquire)
        except TimeoutError:
            raise TokenUnreachableError("Microsoft Entra did not answer in time") from None
        value, expires_in = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(value, str) or not str(expires_in).isdecimal():
            raise _failure_of(answer)
        self._token = _Token(value, self._clock() + int(str(expires_in)))

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
        http_client = self._new_http_client() if self._new_http_client else _http_client(self._time_limit)
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


def _http_client(time_limit: float) -> Any:  # noqa: ANN401 - requests.Session
    import requests  # noqa: PLC0415 - msal needs it

    session = requests.Session()
    # requests has no time limit of its own, for a session neither.
    session.request = partial(session.request, timeout=time_limit)  # type: ignore[method-assign]
    return session


def _failure_of(answer: dict[str, Any]) -> TokenError:
    # Only the codes: the description may repeat what was sent.
    # https://learn.microsoft.com/entra/identity-platform/reference-error-codes
    error = re.sub(r"[^a-z_]", "", str(answer.get("error", "")).lower())[:40] or "no token in the answer"
    codes = re.findall(r"AADSTS\d{1,9}", str(answer.get("error_description", "")))[:1]
    text = f"Microsoft Entra issued no token for the bot ({' '.join([error, *codes])})"
    temporary = error in {"temporarily_unavailable", "server_error", "timeout", "too_many_requests"}
    return TokenUnreachableError(text) if temporary else TokenRefusedError(text)
