"""Texts as every engine can keep them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.common.text import replace_lone_surrogates
from app.storage.conversations import StoredMessage
from app.storage.ledger import TurnRecord


def sanitize_turn(record: TurnRecord) -> TurnRecord:
    return replace(record, payload=replace_lone_surrogates(record.payload), shown=replace_lone_surrogates(record.shown))


def sanitize_messages(messages: Sequence[StoredMessage]) -> list[StoredMessage]:
    return [replace(message, text=replace_lone_surrogates(message.text)) for message in messages]
