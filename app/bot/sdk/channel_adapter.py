"""The Bot Framework's CloudAdapter, with our authentication and our connector, and without its faults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from botbuilder.core import InvokeResponse, TurnContext
from botbuilder.integration.aiohttp import CloudAdapter
from botbuilder.schema import Activity
from botframework.connector.auth import AuthenticateRequestResult

from app.bot.auth.authentication import Authenticator, Caller
from app.bot.auth.bot_identity import BotIdentity
from app.bot.connector.connector_client import Connector, Tokens
from app.bot.inbound.activity import is_targeted
from app.bot.replies.activity_sender import ActivitySender, BufferedSender, Json
from app.bot.sdk.sdk_authentication import SdkAuthentication
from app.bot.sdk.sdk_clients import PATIENCE, ConnectorClients, UserTokens
from app.bot.sdk.sdk_entities import plain

_NO_REPLY_TO: Final = frozenset({"directline", "webchat"})

OnTurnError = Callable[[TurnContext, Exception], Awaitable[None]]


class Adapter(CloudAdapter):
    """`process_activity(authenticated, activity, logic)` runs a turn. It returns what an invoke or `expectReplies` is
    answered with, its body ready for `json.dumps`, or None.
    """

    def __init__(
        self,
        identity: BotIdentity,
        authenticator: Authenticator,
        connector: Connector,
        tokens: Tokens,
        *,
        on_turn_error: OnTurnError | None = None,
    ) -> None:
        self._connector = connector
        self._authentication = SdkAuthentication(
            identity, authenticator, ConnectorClients(connector), UserTokens(identity, tokens)
        )
        super().__init__(self._authentication)
        if on_turn_error is not None:
            self.on_turn_error = on_turn_error

    async def admit(self, headers: Mapping[str, str], client_address: str | None = None) -> Caller:
        """Raises `app.bot.auth.authentication.UnauthenticatedError` and `AuthenticationUnavailableError`."""
        return await self._authentication.admit(headers, client_address)

    def identify(self, caller: Caller, activity: Activity) -> AuthenticateRequestResult:
        """Raises `app.bot.auth.authentication.UnauthenticatedError`."""
        return self._authentication.identify(caller, activity)

    def sender(self, context: TurnContext) -> ActivitySender:
        """Where the turn's replies go, past the SDK: it copies every activity deeply and forgets their ids."""
        activity = context.activity
        if activity.delivery_mode == "expectReplies":
            replies = BufferedSender(addressing(activity))
            # One list with what goes through the SDK, so that the order is kept.
            replies.activities = context.buffered_reply_activities
            return replies
        return self.sender_to(ReplyTarget.of(activity))

    def sender_to(self, address: ReplyTarget) -> ActivitySender:
        """For a turn that goes on without its activity."""
        return ConnectorSender(self._connector, address)

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


@dataclass(frozen=True, slots=True)
class ReplyTarget:
    """Where replies to one activity go. `fields` are what they have in common."""

    service_url: str
    conversation: str
    fields: Json

    @classmethod
    def of(cls, activity: Activity) -> ReplyTarget:
        conversation = activity.conversation.id if activity.conversation else None
        return cls(activity.service_url or "", conversation or "", addressing(activity))


class ConnectorSender:
    """Replies to one activity; to a targeted one they are for its sender alone. Raises
    `app.bot.connector.send_errors`."""

    def __init__(self, connector: Connector, address: ReplyTarget) -> None:
        self._connector = connector
        self._to = address
        self._targeted = address.fields.get("recipient", {}).get("isTargeted") is True

    async def post(self, activity: Json, *, impatient: bool = False) -> str | None:
        content = {**self._to.fields, **activity}
        budget = 0.0 if impatient else PATIENCE
        reply_to: str | None = content.get("replyToId")
        if self._targeted:
            content, reply_to = _targeted(content), None
        return await self._connector.send(
            self._to.service_url, self._to.conversation, content, reply_to, budget=budget, targeted=self._targeted
        )

    async def update(self, activity_id: str, activity: Json, *, impatient: bool = False) -> None:
        content = {**self._to.fields, **activity, "id": activity_id}
        if self._targeted:
            # Teams refuses an edit that names the one who sees it.
            content.pop("recipient")
        budget = 0.0 if impatient else PATIENCE
        await self._connector.update(
            self._to.service_url, self._to.conversation, activity_id, content, budget=budget, targeted=self._targeted
        )


def _targeted(content: Json) -> Json:
    """A targeted message cannot be replied to: an entity says which one is answered."""
    answered = content.pop("replyToId", None)
    if content.get("type") == "message" and answered:
        entities = [*content.get("entities", ()), {"type": "targetedMessageInfo", "messageId": answered}]
        content = {**content, "entities": entities}
    return content


def addressing(activity: Activity) -> Json:
    """What every reply to `activity` has in common, as `TurnContext.apply_conversation_reference` fills it in."""
    bot, person = plain(activity.recipient), plain(activity.from_property)
    if is_targeted(activity):
        bot.pop("isTargeted")
        person = {**(person or {}), "isTargeted": True}
    fields = {
        "channelId": activity.channel_id,
        "serviceUrl": activity.service_url,
        "conversation": plain(activity.conversation),
        "from": bot,
        "recipient": person,
        "locale": activity.locale,
        "replyToId": activity.id if _can_be_replied_to(activity) else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _can_be_replied_to(activity: Activity) -> bool:
    if activity.type == "conversationUpdate" or activity.channel_id in _NO_REPLY_TO:
        return False
    # The SDK makes these up, with an id that no channel knows.
    return not (activity.type == "event" and activity.name in ("ContinueConversation", "CreateConversation"))


def _invoke_response(answer: Any) -> InvokeResponse:  # noqa: ANN401 - either class of that name, JSON, or nothing
    if answer is None:
        return InvokeResponse(status=int(HTTPStatus.NOT_IMPLEMENTED))
    fields = answer if isinstance(answer, Mapping) else vars(answer)
    return InvokeResponse(status=int(fields.get("status") or HTTPStatus.OK), body=plain(fields.get("body")))
