"""The conversation reference that an activity gives, and where messages to it go."""

from __future__ import annotations

from botbuilder.schema import Activity

from app.bot.inbound.activity import caller_of, conversation_type, is_from_copilot, locale_of
from app.bot.inbound.conversation_key import conversation_of, root_conversation_id, with_thread
from app.bot.inbound.reply_target import ReplyTarget
from app.messaging.conversation_references import ConversationReference


def reference_of(activity: Activity) -> ConversationReference | None:
    """None where the bot cannot speak first: in Copilot, in an HTTP response, and in a conversation without an id.

    https://learn.microsoft.com/microsoft-365-copilot/extensibility/known-issues
    """
    conversation_id = root_conversation_id(activity)
    if not conversation_id or not activity.service_url:
        return None
    if is_from_copilot(activity) or activity.delivery_mode == "expectReplies":
        return None
    key, caller, kind = conversation_of(activity), caller_of(activity), conversation_type(activity)
    # In a group these fields would be those of the last sender.
    is_personal = kind == "personal"
    bot = activity.recipient
    return ConversationReference(
        tenant_id=key.tenant,
        conversation=key.conversation,
        channel_id=activity.channel_id or "",
        conversation_id=conversation_id,
        conversation_type=kind,
        service_url=activity.service_url,
        bot_id=(bot.id if bot else None) or "",
        bot_name=(bot.name if bot else None) or "",
        user_id=caller.user_id if is_personal else "",
        entra_object_id=caller.entra_object_id if is_personal else "",
        locale=locale_of(activity) if is_personal else "",
    )


def target_of(reference: ConversationReference, thread: str = "") -> ReplyTarget:
    """For a message that replies to nothing; `thread` is the id of the message that began a thread of a channel."""
    conversation_id = with_thread(reference.conversation_id, thread)
    conversation = {
        "id": conversation_id,
        "conversationType": reference.conversation_type,
        "tenantId": reference.tenant_id,
    }
    fields = {
        "channelId": reference.channel_id,
        "serviceUrl": reference.service_url,
        "conversation": {name: value for name, value in conversation.items() if value},
        "from": {"id": reference.bot_id, "name": reference.bot_name},
        "recipient": {"id": reference.user_id} if reference.user_id else None,
        "locale": reference.locale,
    }
    return ReplyTarget(reference.service_url, conversation_id, {name: value for name, value in fields.items() if value})
