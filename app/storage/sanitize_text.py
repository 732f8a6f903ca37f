"""Texts as every engine can keep them: without lone surrogates, and without NUL, which PostgreSQL does not take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.common.text import replace_lone_surrogates
from app.storage.conversations import StoredMessage
from app.storage.documents import Document, DocumentKey
from app.storage.ledger import TurnRecord


def sanitize_turn(record: TurnRecord) -> TurnRecord:
    return replace(
        record,
        payload=_sanitize(record.payload),
        checkpoint=_sanitize(record.checkpoint),
        result=_sanitize(record.result),
    )


def sanitize_document_key(key: DocumentKey) -> DocumentKey:
    return replace(key, tenant=replace_lone_surrogates(key.tenant), id=replace_lone_surrogates(key.id))


def sanitize_document(document: Document) -> Document:
    key, value = sanitize_document_key(document.key), _sanitize(document.value)
    return replace(document, key=key, value=value)


def sanitize_messages(messages: Sequence[StoredMessage]) -> list[StoredMessage]:
    return [
        replace(
            message,
            text=_sanitize(message.text),
            blocks=_sanitize(message.blocks),
            activity_id=_sanitize(message.activity_id),
            caller=_sanitize(message.caller),
        )
        for message in messages
    ]


def _sanitize(text: str) -> str:
    return replace_lone_surrogates(text).replace("\0", "\ufffd")
