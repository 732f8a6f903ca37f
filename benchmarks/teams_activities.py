"""Messages as Teams sends them to a bot."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from benchmarks.load_records import ConversationType

TENANT = "6babcaad-604b-40ac-a9d7-9fd97c0b779f"
BOT = {"id": "28:c9e8c047-2a34-40a1-b28a-b162d5f5327c", "name": "Databricks"}
_MENTION = "<at>Databricks</at>"


def question(reference: str) -> str:
    """A question of ordinary length; the fake model finds the turn it belongs to by `reference`."""
    return (
        "Which of yesterday's jobs in the sales workspace failed, what was the reason given, "
        f"and who should look at it first? (ref {reference})"
    )


def message(conversation_type: ConversationType, conversation: str, text: str, service_url: str) -> dict[str, Any]:
    """A message activity typed by a person; in a group chat it mentions the bot."""
    now = datetime.now(UTC)
    entities: list[dict[str, Any]] = [
        {"type": "clientInfo", "locale": "en-US", "country": "US", "platform": "Web", "timezone": "Europe/Berlin"}
    ]
    account: dict[str, Any] = {"id": conversation, "conversationType": conversation_type, "tenantId": TENANT}
    if conversation_type == "groupChat":
        text = f"{_MENTION} {text}"
        account["isGroup"] = True
        entities.append({"type": "mention", "mentioned": BOT, "text": _MENTION})
    return {
        "type": "message",
        "id": str(uuid.uuid4()),
        "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "localTimestamp": now.isoformat(timespec="milliseconds"),
        "localTimezone": "Europe/Berlin",
        "serviceUrl": service_url,
        "channelId": "msteams",
        "from": {
            "id": f"29:1{conversation[-24:]}",
            "name": "Adele Vance",
            "aadObjectId": str(uuid.uuid5(uuid.NAMESPACE_OID, conversation)),
        },
        "conversation": account,
        "recipient": BOT,
        "text": text,
        "textFormat": "plain",
        "locale": "en-US",
        "entities": entities,
        "channelData": {"tenant": {"id": TENANT}},
    }


def conversation_id(conversation_type: ConversationType, name: str, index: int) -> str:
    key = uuid.uuid5(uuid.NAMESPACE_URL, f"{name}/{index}").hex
    return f"a:1{key}" if conversation_type == "personal" else f"19:{key}@thread.v2"
