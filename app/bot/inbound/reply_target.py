"""Where the replies to an activity go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from botbuilder.schema import Activity

from app.bot.inbound.activity import is_targeted
from app.bot.sdk.sdk_entities import plain

Json = dict[str, Any]

_WITHOUT_REPLIES: Final = frozenset({"directline", "webchat"})


@dataclass(frozen=True, slots=True)
class ReplyTarget:
    """`fields` are what all replies to one activity have in common."""

    service_url: str
    conversation: str
    fields: Json

    @classmethod
    def of(cls, activity: Activity) -> ReplyTarget:
        conversation = activity.conversation.id if activity.conversation else None
        return cls(activity.service_url or "", conversation or "", reply_fields(activity))

    @property
    def is_targeted(self) -> bool:
        """Whether only the recipient sees the replies."""
        return self.fields.get("recipient", {}).get("isTargeted") is True


def reply_fields(activity: Activity) -> Json:
    """As the SDK's `TurnContext.apply_conversation_reference` fills them in."""
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
    if activity.type == "conversationUpdate" or activity.channel_id in _WITHOUT_REPLIES:
        return False
    # The SDK makes these events itself, with an id that no channel knows.
    return not (activity.type == "event" and activity.name in ("ContinueConversation", "CreateConversation"))
