"""The SDK's CloudAdapter with our authentication and our connector, and without its faults."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from botbuilder.core import InvokeResponse, TurnContext
from botbuilder.integration.aiohttp import CloudAdapter
from botbuilder.schema import Activity
from botframework.connector.auth import AuthenticateRequestResult

from app.bot.auth.authentication import Authenticator, Principal
from app.bot.auth.bot_identity import BotIdentity
from app.bot.connector.connector_client import ConnectorClient, Tokens
from app.bot.connector.connector_sender import ConnectorSender
from app.bot.inbound.reply_target import ReplyTarget, reply_fields
from app.bot.replies.activity_sender import ActivitySender, BufferedSender
from app.bot.sdk.sdk_authentication import SdkAuthentication
from app.bot.sdk.sdk_clients import SdkConnectorClients, SdkUserTokens
from app.bot.sdk.sdk_entities import plain


class ChannelAdapter(CloudAdapter):
    """`process_activity(authorized, activity, handler)` runs a turn of the SDK.

    It returns what an invoke or `expectReplies` is answered with, its body ready for `json.dumps`, or None. What
    `handler` raises comes through.
    """

    def __init__(
        self, identity: BotIdentity, authenticator: Authenticator, connector: ConnectorClient, tokens: Tokens
    ) -> None:
        self._connector = connector
        self._authentication = SdkAuthentication(
            identity, authenticator, SdkConnectorClients(connector), SdkUserTokens(identity, tokens)
        )
        super().__init__(self._authentication)

    async def authenticate(self, headers: Mapping[str, str], client_address: str | None = None) -> Principal:
        """Raises `app.bot.auth.authentication.UnauthenticatedError` and `AuthenticationUnavailableError`."""
        return await self._authentication.authenticate(headers, client_address)

    def authorize(self, principal: Principal, activity: Activity) -> AuthenticateRequestResult:
        """Raises `app.bot.auth.authentication.UnauthenticatedError`."""
        return self._authentication.authorize(principal, activity)

    def sender(self, context: TurnContext) -> ActivitySender:
        """Sends the turn's replies, past the SDK: that one copies every activity deeply and drops its id."""
        activity = context.activity
        if activity.delivery_mode == "expectReplies":
            # What the SDK sends itself goes to the same list, so the order of all replies is kept.
            return BufferedSender(reply_fields(activity), context.buffered_reply_activities)
        return self.sender_to(ReplyTarget.of(activity))

    def sender_to(self, target: ReplyTarget) -> ActivitySender:
        """For a turn that is resumed without its activity."""
        return ConnectorSender(self._connector, target)

    def _process_turn_results(  # type: ignore[override]  # the SDK has two classes of that name
        self, context: TurnContext
    ) -> InvokeResponse | None:
        # The SDK's own leaves models in the body of an invoke's answer, and drops entities from expected replies.
        if context.activity.delivery_mode == "expectReplies":
            replies = [plain(reply) for reply in context.buffered_reply_activities]
            return InvokeResponse(status=int(HTTPStatus.OK), body={"activities": replies})
        if context.activity.type != "invoke":
            return None
        answered: Any = context.turn_state.get(self._INVOKE_RESPONSE_KEY)
        return _invoke_response(answered.value if answered is not None else None)


def _invoke_response(answer: Any) -> InvokeResponse:  # noqa: ANN401 - either class of that name, JSON, or nothing
    if answer is None:
        return InvokeResponse(status=int(HTTPStatus.NOT_IMPLEMENTED))
    fields = answer if isinstance(answer, Mapping) else vars(answer)
    return InvokeResponse(status=int(fields.get("status") or HTTPStatus.OK), body=plain(fields.get("body")))
