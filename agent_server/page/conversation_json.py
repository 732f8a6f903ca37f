"""Conversations as JSON, as `agent_server/ui/src/api/types.ts` reads them. Times are in seconds since 1970."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from agent_server.page.conversations import Conversation
from agent_server.responses.conversation_records import ConversationRecord


def summary_json(record: ConversationRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "title": record.title,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "running_response_id": record.running or None,
    }


def conversation_json(conversation: Conversation) -> dict[str, Any]:
    return {**summary_json(conversation.record), "turns": [asdict(turn) for turn in conversation.turns]}
