"""Conversations and turns as entities of an Azure table: one partition for each tenant and conversation.

The rows of each of its threads, in the table's order: `conversation` has the last ticket that was started; there is an
`in_progress-<ticket>` for each open turn; `message-<ticket>-<part>` holds what was said in a turn, newest first;
`turn-<activity>` is the ledger. So one range has everything that a turn needs to begin.
Names: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.ledger import TurnKey, TurnRecord, TurnState
from app.storage.sanitize_text import sanitize_messages

Entity = dict[str, Any]

# The kinds of rows, in alphabetical order because the ranges depend on it.
HEAD = "conversation"
OPEN = "in_progress"
MESSAGE = "message"
TURN = "turn"
# Follows all messages, which have a "-" there.
AFTER_MESSAGES = "message."
AFTER_TURNS = "turn."
# From the first hexadecimal digit to what follows the last.
ALL_THREADS = ("0", "g")
_THREAD_SIZE = 32

# In characters. A property holds 64 KiB of UTF-16, in which a character takes up to four bytes; an entity holds 1 MiB,
# which Azurite counts in JSON, in which a character takes up to twelve.
_PROPERTY_SIZE = 16_000
_MAX_PROPERTIES = 5
_LAST_TICKET = 10**18
# A question and its answer have two.
_MAX_TURN_MESSAGES = 100


def partition_of(key: ConversationKey) -> str:
    """A hash, because a conversation's id may have characters that a key must not have, and any length."""
    return hash_of([key.tenant, key.conversation])


def row_of(key: ConversationKey, kind: str, rest: str = "") -> str:
    """Without `rest`, what precedes the rows of that kind."""
    return f"{hash_of(key.thread)[:_THREAD_SIZE]}-{kind}{rest}"


def is_kind(entity: Mapping[str, Any], *kinds: str) -> bool:
    return str(entity["RowKey"])[_THREAD_SIZE + 1 :].partition("-")[0] in kinds


def turn_row(key: TurnKey) -> str:
    return row_of(key.conversation, TURN, f"-{hash_of(key.activity_id)}")


def open_row(record: TurnRecord) -> str:
    return row_of(record.key.conversation, OPEN, f"-{record.ticket:019d}")


_CLOSED_PROPERTIES = ("PartitionKey", "RowKey", "ticket", "owner", "lease_until", "attempt_count", "written_at")


def turn_entity(record: TurnRecord, now: float) -> Entity:
    return {
        **_keys(record.key.conversation, turn_row(record.key)),
        # As text: integers have 32 bits.
        "ticket": str(record.ticket),
        "state": str(record.state),
        "owner": record.owner,
        "lease_until": record.lease_until,
        "attempt_count": record.attempt_count,
        "written_at": now,
        **split_text("payload", record.payload),
        **split_text("checkpoint", record.checkpoint),
        **split_text("result", record.result),
    }


def closed_entity(turn: Entity) -> Entity:
    """The row of a turn that is closed without an answer: without its texts."""
    kept = {name: turn[name] for name in _CLOSED_PROPERTIES if name in turn}
    return {**kept, "state": str(TurnState.FAILED)}


def turn_of(key: TurnKey, entity: Mapping[str, Any]) -> TurnRecord:
    return TurnRecord(
        key,
        int(entity["ticket"]),
        TurnState(entity["state"]),
        entity["owner"],
        entity["lease_until"],
        entity["attempt_count"],
        join_text("payload", entity),
        join_text("checkpoint", entity),
        join_text("result", entity),
        entity["etag"],
    )


def head_entity(key: ConversationKey, started: int, now: float) -> Entity:
    return {**_keys(key, row_of(key, HEAD)), "started_ticket": str(started), "written_at": now}


def started_in(rows: Iterable[Entity]) -> tuple[int, str]:
    """The last ticket that was started, and the version of the row that has it; 0 and empty if there is none."""
    head = next((row for row in rows if is_kind(row, HEAD)), None)
    return (0, "") if head is None else (int(head["started_ticket"]), head["etag"])


def tickets_of(rows: Iterable[Entity]) -> list[int]:
    """The tickets of the open turns among `rows`."""
    return [int(row["RowKey"].rpartition("-")[2]) for row in rows if is_kind(row, OPEN)]


def open_entity(record: TurnRecord, now: float) -> Entity:
    return {**_keys(record.key.conversation, open_row(record)), "turn_row": turn_row(record.key), "written_at": now}


def message_entities(
    key: ConversationKey, ticket: int, messages: Sequence[StoredMessage], now: float
) -> Iterator[Entity]:
    """One row for all messages of a turn, or as many as their size needs."""
    if not messages:
        return
    text = json.dumps([_message_fields(message) for message in sanitize_messages(messages)], ensure_ascii=False)
    size = _PROPERTY_SIZE * _MAX_PROPERTIES
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    for number, part in enumerate(parts):
        row = row_of(key, MESSAGE, f"-{_LAST_TICKET - ticket:019d}-{number:03d}")
        yield {**_keys(key, row), "parts": len(parts), "written_at": now, **split_text("messages", part)}


def messages_of(entities: Iterable[Mapping[str, Any]], limit: int) -> list[StoredMessage]:
    """The newest `limit` messages, oldest first. The rows come in the table's order."""
    turns: list[list[StoredMessage]] = []
    parts: list[str] = []
    found = 0
    for entity in entities:
        if found >= limit:
            break
        if not is_kind(entity, MESSAGE):
            continue
        parts.append(join_text("messages", entity))
        if len(parts) == entity["parts"]:
            turns.append([_message_of(fields) for fields in json.loads("".join(parts))])
            found += len(turns[-1])
            parts = []
    messages = [message for turn in reversed(turns) for message in turn]
    return messages[max(0, found - limit) :]


def rows_of_answer(entities: Iterable[Entity], activity_id: str) -> list[Entity]:
    """All rows of the turns whose answer has that id of the channel's."""
    turns: dict[str, list[Entity]] = {}
    for entity in entities:
        if is_kind(entity, MESSAGE):
            turns.setdefault(entity["RowKey"].rpartition("-")[0], []).append(entity)
    return [row for rows in turns.values() if _has_answer(rows, activity_id) for row in rows]


def _has_answer(rows: Sequence[Entity], activity_id: str) -> bool:
    return any(message.activity_id == activity_id for message in messages_of(rows, _MAX_TURN_MESSAGES))


def _message_fields(message: StoredMessage) -> dict[str, Any]:
    return {name: value for name, value in asdict(message).items() if value != ""} | {"text": message.text}


def _message_of(fields: Mapping[str, Any]) -> StoredMessage:
    # A newer version may have written more fields.
    return StoredMessage(**{name: value for name, value in fields.items() if name in StoredMessage.__slots__})


def _keys(key: ConversationKey, row: str) -> Entity:
    return {"PartitionKey": partition_of(key), "RowKey": row}


def hash_of(value: object) -> str:
    # JSON escapes lone surrogates, which UTF-8 cannot encode.
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def split_text(name: str, text: str) -> Entity:
    """One property for each piece, none for an empty text: `name`, `name_1`, `name_2`, ..."""
    pieces = [text[start : start + _PROPERTY_SIZE] for start in range(0, len(text), _PROPERTY_SIZE)]
    return {_piece(name, number): piece for number, piece in enumerate(pieces)}


def join_text(name: str, entity: Mapping[str, Any]) -> str:
    pieces: list[str] = []
    while (piece := entity.get(_piece(name, len(pieces)))) is not None:
        pieces.append(piece)
    return "".join(pieces)


def _piece(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name
