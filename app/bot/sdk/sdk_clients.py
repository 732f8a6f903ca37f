"""Clients for the SDK's adapter, made once. The SDK would build its own, at great cost, for every turn."""

from __future__ import annotations

from typing import Any

from botbuilder.schema import Activity, ConversationParameters, ConversationResourceResponse, ResourceResponse
from botframework.connector.auth import AppCredentials as SdkCredentials
from botframework.connector.auth import ConnectorFactory, UserTokenClient

from app.bot.auth.bot_identity import BotIdentity, addresses_of
from app.bot.connector.connector_client import ConnectorClient, Tokens
from app.bot.connector.connector_sender import SEND_SECONDS
from app.bot.sdk.sdk_entities import plain, serialise


class SdkConversations:
    """The part of the SDK's `ConversationsOperations` that its adapter uses. Raises `app.bot.connector.send_errors`."""

    def __init__(self, connector: ConnectorClient, service_url: str) -> None:
        self._connector = connector
        self._service_url = service_url

    async def send_to_conversation(self, conversation_id: str, activity: Activity) -> ResourceResponse:
        return await self._send(conversation_id, None, activity)

    async def reply_to_activity(self, conversation_id: str, activity_id: str, activity: Activity) -> ResourceResponse:
        return await self._send(conversation_id, activity_id, activity)

    async def _send(self, conversation_id: str, reply_to: str | None, activity: Activity) -> ResourceResponse:
        made = await self._connector.send(
            self._service_url, conversation_id, serialise(activity), reply_to, retry_seconds=SEND_SECONDS
        )
        return ResourceResponse(id=made or "")

    async def update_activity(self, conversation_id: str, activity_id: str, activity: Activity) -> ResourceResponse:
        content = serialise(activity)
        made = await self._connector.update(
            self._service_url, conversation_id, activity_id, content, retry_seconds=SEND_SECONDS
        )
        return ResourceResponse(id=made or "")

    async def delete_activity(self, conversation_id: str, activity_id: str) -> None:
        await self._connector.delete(self._service_url, conversation_id, activity_id, retry_seconds=SEND_SECONDS)

    async def create_conversation(self, parameters: ConversationParameters) -> ConversationResourceResponse:
        made = await self._connector.create_conversation(
            self._service_url, plain(parameters), retry_seconds=SEND_SECONDS
        )
        return ConversationResourceResponse(
            id=str(made.get("id") or ""),
            activity_id=str(made.get("activityId") or ""),
            service_url=str(made.get("serviceUrl") or ""),
        )


class SdkConnectorClient:
    """The SDK's view of a connector client: our one `Connector` with a service URL."""

    def __init__(self, connector: ConnectorClient, service_url: str) -> None:
        self.conversations = SdkConversations(connector, service_url)


class SdkConnectorClients(ConnectorFactory):
    def __init__(self, connector: ConnectorClient) -> None:
        self._connector = connector

    async def create(self, service_url: str, audience: str) -> Any:  # noqa: ANN401 - in place of the SDK's own class
        return SdkConnectorClient(self._connector, service_url)


class _FetchedToken(SdkCredentials):
    """The SDK asks for a token synchronously, on the event loop: it gets one that was fetched before."""

    value: str | None = None

    def get_access_token(self, force_refresh: bool = False) -> str:
        return self.value or ""


class SdkUserTokens(UserTokenClient):
    """Users' tokens, from the Bot Framework's token service. The SDK's client is made at the first use."""

    def __init__(self, identity: BotIdentity, tokens: Tokens, *, address: str | None = None) -> None:
        self._app_id = identity.app_id or ""
        self._tokens = tokens
        self._address = address or addresses_of(identity.cloud).user_token_service
        self._credentials = _FetchedToken(self._app_id)
        self._client: UserTokenClient | None = None

    async def _ready(self) -> Any:  # noqa: ANN401 - whose results have no types
        self._credentials.value = await self._tokens.token()
        if self._client is None:
            # The class is private, but the SDK offers no other way to its token service.
            from botframework.connector.auth._user_token_client_impl import _UserTokenClientImpl  # noqa: PLC0415

            self._client = _UserTokenClientImpl(self._app_id, self._credentials, self._address)
        return self._client

    async def get_user_token(self, user_id: str, connection_name: str, channel_id: str, magic_code: str) -> Any:  # noqa: ANN401
        return await (await self._ready()).get_user_token(user_id, connection_name, channel_id, magic_code)

    async def get_sign_in_resource(self, connection_name: str, activity: Activity, final_redirect: str) -> Any:  # noqa: ANN401
        return await (await self._ready()).get_sign_in_resource(connection_name, activity, final_redirect)

    async def sign_out_user(self, user_id: str, connection_name: str, channel_id: str) -> None:
        await (await self._ready()).sign_out_user(user_id, connection_name, channel_id)

    async def get_token_status(self, user_id: str, channel_id: str, include_filter: str) -> Any:  # noqa: ANN401
        return await (await self._ready()).get_token_status(user_id, channel_id, include_filter)

    async def get_aad_tokens(
        self, user_id: str, connection_name: str, resource_urls: list[str], channel_id: str
    ) -> Any:  # noqa: ANN401
        return await (await self._ready()).get_aad_tokens(user_id, connection_name, resource_urls, channel_id)

    async def exchange_token(
        self,
        user_id: str,
        connection_name: str,
        channel_id: str,
        exchange_request: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        return await (await self._ready()).exchange_token(user_id, connection_name, channel_id, exchange_request)
