"""Authenticates callers of the bot: the Bot Framework's tokens, checked as its documentation asks.

The SDK checks less.

https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from botbuilder.schema import Activity

from app.access_tokens.access_token import AccessToken, Claims, UnauthenticatedError, same_id
from app.access_tokens.signing_keys import SigningKeys
from app.bot.auth.bot_identity import BotIdentity, addresses_of
from app.bot.auth.loopback_guard import refusal_of_remote_caller
from app.bot.auth.service_url import ServiceUrls, UntrustedServiceUrlError
from app.bot.inbound.activity import tenant_ids
from app.common.http_session import HttpSession


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
        return await self._verify(AccessToken.read(lower.get("authorization")))

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

    async def _verify(self, token: AccessToken) -> Principal:
        # The token is read before its signature is checked, so that only a plausible one makes us fetch keys.
        claims, issuer = token.claims, token.claims["iss"]
        token.check_times(self._now())
        if not same_id(claims.get("aud"), self._identity.app_id):
            raise UnauthenticatedError("the token is for another audience")
        token.check_is_an_apps()
        if issuer == self._addresses.channel_issuer:
            self._check_service_url(claims.get("serviceurl"))
            key = await token.verify(self._channel_keys)
            return Principal(claims, key.endorsements)
        if issuer in self._login_issuers:
            self._check_is_own_token(claims)
            await token.verify_login(self._login_keys)
            return Principal(claims)
        raise UnauthenticatedError("the issuer is not one of the Bot Framework's")

    def _check_service_url(self, url: object) -> None:
        try:
            self._service_urls.check(url)
        except UntrustedServiceUrlError as error:
            raise UnauthenticatedError(str(error)) from None

    def _check_is_own_token(self, claims: Claims) -> None:
        """The Emulator signs in as the bot itself; a skill's caller would be another app, and is refused."""
        caller = {"1.0": claims.get("appid"), "2.0": claims.get("azp")}.get(str(claims.get("ver")))
        if not same_id(caller, self._identity.app_id):
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


def _channel(channel_id: str) -> str:
    """Without the part of a channel that the Agents SDK writes after a colon: `msteams:COPILOT` is msteams."""
    return channel_id.partition(":")[0]
