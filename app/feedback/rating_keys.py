"""How what belongs to the answers of a conversation is named in storage, so that `/forget` finds it."""

from __future__ import annotations

import hashlib

from app.storage.conversations import ConversationKey


def conversation_prefix(conversation: ConversationKey, *, threads: bool = False) -> str:
    """What the ids of its documents begin with; with `threads`, those of all its threads too."""
    prefix = f"{_digest(conversation.conversation)}/"
    return prefix if threads else f"{prefix}{_digest(conversation.thread)}/"


def answer_id(conversation: ConversationKey, activity_id: str) -> str:
    """`activity_id` is the channel's id of the answer's last message."""
    return f"{conversation_prefix(conversation)}{_digest(activity_id)}"


def rating_id(conversation: ConversationKey, activity_id: str, person: str) -> str:
    return f"{answer_id(conversation, activity_id)}/{_digest(person)}"


def person_id(person: str) -> str:
    return _digest(person)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
