"""Our authentication behind the SDK's interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from botbuilder.schema import Activity
from botframework.connector.auth import (
    AuthenticateRequestResult,
    BotFrameworkAuthentication,
    ClaimsIdentity,
    ConnectorFactory,
    UserTokenClient,
)

from app.access_tokens.access_token import UnauthenticatedError
from app.bot.auth.authentication import Authenticator, Principal
from app.bot.auth.bot_identity import BotIdentity, addresses_of


class SdkAuthentication(BotFrameworkAuthentication):
    def __init__(
        self,
        identity: BotIdentity,
        authenticator: Authenticator,
        connectors: ConnectorFactory,
        user_tokens: UserTokenClient,
    ) -> None:
        self._identity = identity
        self._addresses = addresses_of(identity.cloud)
        self._authenticator = authenticator
        self._connectors = connectors
        self._user_tokens = user_tokens

    async def authenticate(self, headers: Mapping[str, str], client_address: str | None) -> Principal:
        """Raises `UnauthenticatedError`, `AuthenticationUnavailableError`."""
        return await self._authenticator.authenticate(headers, client_address)

    def authorize(self, principal: Principal, activity: Activity) -> AuthenticateRequestResult:
        """Raises `UnauthenticatedError`."""
        self._authenticator.authorize(principal, activity)
        result = AuthenticateRequestResult()
        result.claims_identity = ClaimsIdentity(dict(principal.claims), True, "" if principal.claims else "anonymous")
        result.audience = self._addresses.connector_resource
        result.caller_id = self._addresses.caller_id if principal.claims else ""
        result.connector_factory = self._connectors
        return result

    async def authenticate_request(self, activity: Activity, auth_header: str) -> AuthenticateRequestResult:
        return self.authorize(await self.authenticate({"authorization": auth_header or ""}, None), activity)

    async def authenticate_streaming_request(self, auth_header: str, channel_id_header: str) -> NoReturn:
        raise UnauthenticatedError("web sockets are not offered")

    async def authenticate_channel_request(self, auth_header: str) -> NoReturn:
        raise UnauthenticatedError("skills are not called")

    def create_connector_factory(self, claims_identity: ClaimsIdentity) -> ConnectorFactory:
        return self._connectors

    async def create_user_token_client(self, claims_identity: ClaimsIdentity) -> UserTokenClient:
        return self._user_tokens

    def get_originating_audience(self) -> str:
        return self._addresses.connector_resource
