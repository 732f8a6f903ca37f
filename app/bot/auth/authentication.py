"""Authenticates callers of the bot: the Bot Framework's tokens, checked as its documentation asks.

The SDK checks less.

https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import jwt
from botbuilder.schema import Activity

from app.bot.auth.bot_identity import BotIdentity, addresses_of
from app.bot.auth.loopback_guard import refusal_of_remote_caller
from app.bot.auth.service_url import ServiceUrls, UntrustedServiceUrlError
from app.bot.auth.signing_keys import KeysUnavailableError, SigningKey, SigningKeys
from app.bot.inbound.activity import tenant_ids
from app.common.http_session import HttpSession

_LEEWAY_SECONDS = 5 * 60
_MAX_TOKEN_CHARACTERS = 16 * 1024

Claims = Mapping[str, Any]


class UnauthenticatedError(PermissionError):
    """`reason` is for the log: a fixed sentence that holds no part of the token."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AuthenticationUnavailableError(Exception):
    """The signing keys are not there, so that the token can be checked neither way."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a verified token; without claims a process of this machine, where the bot has no app id.

    `endorsements` are the channels that the signing key may speak for; None where it is no channel's key.
    """

    claims: Claims
    endorsements: frozenset[str] | None = None


class Authenticator:
    """`now` is the time of day in seconds since 1970, `clock` measures how long keys are kept."""

    def __init__(
        self,
        identity: BotIdentity,
        session: HttpSession,
        *,
        channel_metadata_url: str | None = None,
        login_metadata_url: str | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._identity = identity
        self._addresses = addresses = addresses_of(identity.cloud)
        self._service_urls = ServiceUrls(identity)
        self._channel_keys = SigningKeys(channel_metadata_url or addresses.channel_metadata, session, clock=clock)
        self._login_keys = SigningKeys(login_metadata_url or addresses.login_metadata, session, clock=clock)
        own_tenant = (identity.own_tenant_only.lower(),) if identity.own_tenant_only else ()
        tenants = (*addresses.login_tenants, *own_tenant) if identity.accepts_emulator else ()
        self._login_issuers = frozenset(issuer for tenant in tenants for issuer in addresses.login_issuers(tenant))
        self._now = now

    async def warm_up(self) -> None:
        """Fetches the channels' keys, so that the first message need not wait for them. Raises nothing."""
        if self._identity.app_id:
            await self._channel_keys.refresh()

    async def close(self) -> None:
        await self._channel_keys.close()
        await self._login_keys.close()

    async def authenticate(self, headers: Mapping[str, str], client_address: str | None = None) -> Principal:
        """Checks all but the body. Raises `UnauthenticatedError`, `AuthenticationUnavailableError`."""
        lower = {name.lower(): value for name, value in headers.items()}
        if not self._identity.app_id:
            if reason := refusal_of_remote_caller(lower, client_address):
                raise UnauthenticatedError(reason)
            return Principal({})
        return await self._verify(_bearer_token(lower.get("authorization")))

    def authorize(self, principal: Principal, activity: Activity) -> None:
        """Checks that the sender may send this activity. Raises `UnauthenticatedError`."""
        if not activity.channel_id:
            raise UnauthenticatedError("the activity names no channel")
        self._check_service_url(activity.service_url)
        if not self._identity.app_id:
            return
        if _channel(activity.channel_id) not in self._identity.allowed_channels:
            raise UnauthenticatedError("the channel is not in BOT_CHANNELS")
        if principal.endorsements is not None:
            if principal.claims.get("serviceurl") != activity.service_url:
                raise UnauthenticatedError("the token is for another serviceUrl")
            if not principal.endorsements & {activity.channel_id, _channel(activity.channel_id)}:
                raise UnauthenticatedError("the signing key is not endorsed for the channel")
        self._check_tenant(activity)

    async def _verify(self, token: str) -> Principal:
        # The token is read before its signature is checked, so that only a plausible one makes us fetch keys.
        header, claims = _read(token)
        issuer = claims.get("iss")
        self._check_times(claims)
        if not _same(claims.get("aud"), self._identity.app_id):
            raise UnauthenticatedError("the token is for another audience")
        if "scp" in claims:
            raise UnauthenticatedError("the token was issued for a person, not for an app")
        if issuer == self._addresses.channel_issuer:
            self._check_service_url(claims.get("serviceurl"))
            key = await _find(self._channel_keys, header["kid"])
            principal = Principal(claims, key.endorsements)
        elif issuer in self._login_issuers:
            self._check_is_own_token(claims)
            key = await _find(self._login_keys, header["kid"])
            if key.issuer is not None and "{tenantid}" not in key.issuer and key.issuer != issuer:
                raise UnauthenticatedError("the signing key belongs to another issuer")
            principal = Principal(claims)
        else:
            raise UnauthenticatedError("the issuer is not one of the Bot Framework's")
        _check_signature(token, key)
        return principal

    def _check_service_url(self, url: object) -> None:
        try:
            self._service_urls.check(url)
        except UntrustedServiceUrlError as error:
            raise UnauthenticatedError(str(error)) from None

    def _check_times(self, claims: Claims) -> None:
        now = self._now()
        expires, not_before = claims.get("exp"), claims.get("nbf", 0)
        if not _is_time(expires) or not _is_time(not_before):
            raise UnauthenticatedError("the token does not say how long it is valid")
        if now > expires + _LEEWAY_SECONDS:
            raise UnauthenticatedError("the token has expired")
        if now < not_before - _LEEWAY_SECONDS:
            raise UnauthenticatedError("the token is not valid yet")

    def _check_is_own_token(self, claims: Claims) -> None:
        """The Emulator signs in as the bot itself; a skill's caller would be another app, and is refused."""
        caller = {"1.0": claims.get("appid"), "2.0": claims.get("azp")}.get(str(claims.get("ver")))
        if not _same(caller, self._identity.app_id):
            raise UnauthenticatedError("the token was issued to another app")

    def _check_tenant(self, activity: Activity) -> None:
        tenants = tenant_ids(activity)
        if len(tenants) > 1:
            raise UnauthenticatedError("the activity names more than one tenant")
        own = self._identity.own_tenant_only
        if own is None:
            return
        if not tenants and _channel(activity.channel_id) == "msteams":
            raise UnauthenticatedError("the activity names no tenant")
        if tenants and tenants != {own.lower()}:
            raise UnauthenticatedError("the activity is from another tenant")


def _bearer_token(header: str | None) -> str:
    if not header:
        raise UnauthenticatedError("there is no Authorization header")
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError("the Authorization header holds no bearer token")
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise UnauthenticatedError("the token is too long")
    return token


def _read(token: str) -> tuple[Mapping[str, Any], Claims]:
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except Exception:  # what the library raises on a stranger's bytes is a refusal, whatever its type
        raise UnauthenticatedError("the token cannot be read") from None
    header, claims = parts["header"], parts["payload"]
    if header.get("alg") != "RS256":
        raise UnauthenticatedError("the token is not signed with RS256")
    if not isinstance(header.get("kid"), str) or not isinstance(claims.get("iss"), str):
        raise UnauthenticatedError("the token names no key or no issuer")
    return header, claims


def _check_signature(token: str, key: SigningKey) -> None:
    try:
        # Every claim is checked above, against our own clock.
        jwt.api_jws.decode_complete(token, key.public_key, algorithms=["RS256"])
    except Exception:  # as in _read
        raise UnauthenticatedError("the signature does not fit the key") from None


async def _find(keys: SigningKeys, key_id: str) -> SigningKey:
    try:
        key = await keys.find(key_id)
    except KeysUnavailableError:
        raise AuthenticationUnavailableError("the signing keys could not be fetched") from None
    if key is None:
        raise UnauthenticatedError("the signing key is not known")
    return key


def _channel(channel_id: str) -> str:
    """Without the part of a channel that the Agents SDK writes after a colon: `msteams:COPILOT` is msteams."""
    return channel_id.partition(":")[0]


def _is_time(value: object) -> TypeGuard[float]:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _same(value: object, name: str | None) -> bool:
    """For the ids of apps and tenants, which people write in either case."""
    return isinstance(value, str) and name is not None and value.lower() == name.lower()
