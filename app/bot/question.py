"""What a message activity asks: the text without the mention of the bot, and the names of what cannot be read."""

from __future__ import annotations

from typing import Any

from botbuilder.schema import Activity, Attachment

_LONGEST_NAME = 80
_MOST_NAMES = 10


def is_for_bot(activity: Activity, *, needs_mention: bool) -> bool:
    return not needs_mention or bool(_mentions_of_bot(activity))


def question_of(activity: Activity) -> str:
    """Exactly what was typed, but for the mentions of the bot."""
    text = activity.text if isinstance(activity.text, str) else ""
    mentions = [mention for mention in _mentions_of_bot(activity) if mention in text]
    if not mentions:
        return text
    for mention in mentions:
        text = text.replace(mention, "", 1)
    return text.strip()


def _mentions_of_bot(activity: Activity) -> list[str]:
    bot_id = activity.recipient.id if activity.recipient else None
    found = []
    for entity in activity.entities or ():
        properties: dict[str, Any] = entity.additional_properties or {}
        mentioned, text = properties.get("mentioned"), properties.get("text")
        if entity.type == "mention" and isinstance(mentioned, dict) and mentioned.get("id") == bot_id and bot_id:
            found.append(text if isinstance(text, str) and text else "\0")
    return found


def unread_attachments(activity: Activity) -> tuple[str, ...]:
    """Names for the attachments, as safe to show as any text of ours."""
    names = [_name_of(attachment) for attachment in activity.attachments or () if _is_content(attachment)]
    if len(names) > _MOST_NAMES:
        names = [*names[:_MOST_NAMES], f"and {len(names) - _MOST_NAMES} more"]
    return tuple(names)


def _is_content(attachment: Attachment) -> bool:
    # Teams attaches the message's own HTML to every formatted message.
    return (attachment.content_type or "").lower() != "text/html"


def _name_of(attachment: Attachment) -> str:
    name = "".join(c for c in attachment.name or "" if c.isprintable() and c not in "`*_[]()<>#|~\\").strip()
    if name:
        return f"`{name[:_LONGEST_NAME]}`"
    kind = (attachment.content_type or "").lower()
    if kind.startswith("image/"):
        return "an image"
    return "a card" if "card" in kind else "an attachment without a name"
