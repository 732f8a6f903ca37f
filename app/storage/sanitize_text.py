"""Texts as every engine can keep them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.storage.conversations import StoredMessage
from app.storage.ledger import TurnRecord


def sanitize_text(text: str) -> str:
    """`text` without halves of surrogate pairs, which no encoding has: two that belong together are joined."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def sanitize_turn(record: TurnRecord) -> TurnRecord:
    return replace(record, payload=sanitize_text(record.payload), shown=sanitize_text(record.shown))


def sanitize_messages(messages: Sequence[StoredMessage]) -> list[StoredMessage]:
    return [replace(message, text=sanitize_text(message.text)) for message in messages]
