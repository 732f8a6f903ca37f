"""Conversations and turns as entities of an Azure table: one partition for each tenant and conversation.

Rows of a partition, in their order: `a`, which has given the last ticket; `b-<ticket>` for each open turn;
`m-<position>-<part>`, the messages, newest first; `t-<activity>`, the ledger. So one range is all that a turn needs.
Names: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.ledger import TurnKey, TurnRecord, TurnState

Entity = dict[str, Any]

HEAD = "a"
OPEN = "b-"
MESSAGES = "m-"
AFTER_MESSAGES = "n"
LEDGER = "t-"

# A property holds 64 KiB in UTF-16; an entity 1 MiB.
_PROPERTY = 31_000
_PROPERTIES = 5
_LAST_POSITION = 10**18


def partition_of(key: ConversationKey) -> str:
    """Of any length and any characters, none of which a key of a table could hold."""
    return hashlib.sha256(f"{key.tenant}\n{key.conversation}".encode("utf-8", "surrogatepass")).hexdigest()


def ledger_row(key: TurnKey) -> str:
    return LEDGER + hashlib.sha256(key.activity.encode("utf-8", "surrogatepass")).hexdigest()


def open_row(ticket: int) -> str:
    return f"{OPEN}{ticket:019d}"


def turn_entity(record: TurnRecord, now: float) -> Entity:
    return {
        **_keys(record.key.conversation, ledger_row(record.key)),
        # As text: an integer would be one of 32 bits.
        "ticket": str(record.ticket),
        "state": str(record.state),
        "owner": record.owner,
        "lease": record.lease_until,
        "tries": record.tries,
        "written": now,
        **_split("begun", record.begun),
        **_split("shown", record.shown),
    }


def turn_of(key: TurnKey, entity: Mapping[str, Any], version: str) -> TurnRecord:
    return TurnRecord(
        key,
        int(entity["ticket"]),
        TurnState(entity["state"]),
        entity["owner"],
        entity["lease"],
        entity["tries"],
        _joined("begun", entity),
        _joined("shown", entity),
        version,
    )


def head_entity(key: ConversationKey, ticket: int, now: float) -> Entity:
    return {**_keys(key, HEAD), "ticket": str(ticket), "written": now}


def open_entity(record: TurnRecord, now: float) -> Entity:
    return {**_keys(record.key.conversation, open_row(record.ticket)), "written": now}


def message_entities(
    key: ConversationKey, ticket: int, messages: Sequence[StoredMessage], now: float
) -> Iterator[Entity]:
    for index, message in enumerate(messages):
        position = _LAST_POSITION - (ticket * 10 + index)
        size = _PROPERTY * _PROPERTIES
        parts = [message.text[start : start + size] for start in range(0, len(message.text), size)] or [""]
        for number, part in enumerate(parts):
            yield {
                **_keys(key, f"{MESSAGES}{position:019d}-{number:03d}"),
                "role": message.role,
                "complete": message.complete,
                "parts": len(parts),
                "written": now,
                **_split("text", part),
            }


def messages_of(entities: Iterable[Mapping[str, Any]], limit: int) -> list[StoredMessage]:
    """The newest `limit` whole messages of rows in their order, oldest first."""
    whole: list[StoredMessage] = []
    parts: list[str] = []
    for entity in entities:
        parts.append(_joined("text", entity))
        if len(parts) == entity["parts"]:
            whole.append(StoredMessage(entity["role"], "".join(parts), entity["complete"]))
            parts = []
            if len(whole) == limit:
                break
    return whole[::-1]


def _keys(key: ConversationKey, row: str) -> Entity:
    return {"PartitionKey": partition_of(key), "RowKey": row}


def _split(name: str, text: str) -> Entity:
    """One property for each piece, none for an empty text."""
    pieces = [text[start : start + _PROPERTY] for start in range(0, len(text), _PROPERTY)]
    return {f"{name}{number}": piece for number, piece in enumerate(pieces)}


def _joined(name: str, entity: Mapping[str, Any]) -> str:
    pieces: list[str] = []
    while (piece := entity.get(f"{name}{len(pieces)}")) is not None:
        pieces.append(piece)
    return "".join(pieces)
