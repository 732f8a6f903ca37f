"""Texts as every engine can keep them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.storage.conversations import StoredMessage
from app.storage.ledger import TurnRecord


def storable(text: str) -> str:
    """`text` without halves of surrogate pairs, which no encoding has: two that belong together are joined."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def storable_turn(record: TurnRecord) -> TurnRecord:
    return replace(record, begun=storable(record.begun), shown=storable(record.shown))


def storable_messages(messages: Sequence[StoredMessage]) -> list[StoredMessage]:
    return [replace(message, text=storable(message.text)) for message in messages]
