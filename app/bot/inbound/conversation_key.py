"""The key of an activity's conversation, in storage and in the turn."""

from __future__ import annotations

from botbuilder.schema import Activity

from app.bot.inbound.activity import is_targeted, tenant_id
from app.messaging.conversation_references import PRIVATE_THREAD
from app.storage.conversations import ConversationKey

# Teams names a thread of a channel after the message that began it.
_THREAD = ";messageid="


def conversation_of(activity: Activity) -> ConversationKey:
    root, thread = split_thread(_conversation_id(activity))
    if is_targeted(activity):
        # A conversation of its own: the others in the group must not be answered from it.
        person = (activity.from_property.id if activity.from_property else None) or ""
        thread = f"{thread}{PRIVATE_THREAD}{person}"
    return ConversationKey(tenant_id(activity) or "", f"{activity.channel_id}/{root}", thread)


def _conversation_id(activity: Activity) -> str:
    return (activity.conversation.id if activity.conversation else None) or ""


def root_conversation_id(activity: Activity) -> str:
    """The channel's id of the conversation, without the thread; empty if it names none."""
    return split_thread(_conversation_id(activity))[0]


def split_thread(conversation_id: str) -> tuple[str, str]:
    root, _, thread = conversation_id.partition(_THREAD)
    return root, thread


def with_thread(conversation_id: str, thread: str) -> str:
    return f"{conversation_id}{_THREAD}{thread}" if thread else conversation_id
