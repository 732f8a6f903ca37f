"""Texts as every engine can keep them."""

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
        payload=replace_lone_surrogates(record.payload),
        checkpoint=replace_lone_surrogates(record.checkpoint),
        result=replace_lone_surrogates(record.result),
    )


def sanitize_document_key(key: DocumentKey) -> DocumentKey:
    return replace(key, tenant=replace_lone_surrogates(key.tenant), id=replace_lone_surrogates(key.id))


def sanitize_document(document: Document) -> Document:
    key, value = sanitize_document_key(document.key), replace_lone_surrogates(document.value)
    return replace(document, key=key, value=value)


def sanitize_messages(messages: Sequence[StoredMessage]) -> list[StoredMessage]:
    return [
        replace(
            message,
            text=replace_lone_surrogates(message.text),
            blocks=replace_lone_surrogates(message.blocks),
            activity_id=replace_lone_surrogates(message.activity_id),
            caller=replace_lone_surrogates(message.caller),
        )
        for message in messages
    ]
