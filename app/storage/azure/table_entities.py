"""Conversations, turns and records as entities of an Azure table: one partition for each tenant and conversation.

Rows of each of its threads, in their order: `a`, which knows the last ticket that was started; `b-<ticket>` for each
open turn; `m-<position>-<part>`, the messages, newest first; `r-<name>`, the records; `t-<activity>`, the ledger;
`u-<name>`, the records that last. So one range is all that a turn needs, and another all that is forgotten.
Names: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.keyed_records import Record, RecordKey
from app.storage.ledger import TurnKey, TurnRecord, TurnState
from app.storage.sanitize_text import sanitize_messages

Entity = dict[str, Any]

HEAD = "a"
OPEN = "b"
MESSAGE = "m"
RECORD = "r"
TURN = "t"
LASTING = "u"
# Where the rows of a kind end.
AFTER = {MESSAGE: "n", RECORD: "s"}
# The first row of a partition, and what no row is.
EVERYTHING = ("0", "g")
_THREAD = 32

# A property holds 64 KiB in UTF-16, in which a character may take four bytes; an entity 1 MiB, which Azurite counts in
# JSON, in which a character may take twelve.
_PROPERTY = 16_000
_PROPERTIES = 5
_LAST_POSITION = 10**18


def partition_of(key: ConversationKey) -> str:
    """Of any length and any characters, none of which a key of a table could hold."""
    return _hash([key.tenant, key.conversation])


def row_of(key: ConversationKey, kind: str, rest: str = "") -> str:
    """With `kind` alone, where the rows of that kind begin."""
    return f"{_hash(key.thread)[:_THREAD]}-{kind}{rest}"


def is_kind(entity: Mapping[str, Any], *kinds: str) -> bool:
    return entity["RowKey"][_THREAD + 1] in kinds


def turn_row(key: TurnKey) -> str:
    return row_of(key.conversation, TURN, f"-{_hash(key.activity)}")


def record_row(key: RecordKey) -> str:
    return row_of(key.conversation, LASTING if key.lasting else RECORD, f"-{_hash(key.name)}")


def open_row(record: TurnRecord) -> str:
    return row_of(record.key.conversation, OPEN, f"-{record.ticket:019d}")


def turn_entity(record: TurnRecord, now: float) -> Entity:
    return {
        **_keys(record.key.conversation, turn_row(record.key)),
        # As text: an integer would be one of 32 bits.
        "ticket": str(record.ticket),
        "state": str(record.state),
        "owner": record.owner,
        "lease": record.lease_until,
        "tries": record.attempt_count,
        "written": now,
        **_split("begun", record.payload),
        **_split("shown", record.shown),
    }


def turn_of(key: TurnKey, entity: Mapping[str, Any]) -> TurnRecord:
    return TurnRecord(
        key,
        int(entity["ticket"]),
        TurnState(entity["state"]),
        entity["owner"],
        entity["lease"],
        entity["tries"],
        _joined("begun", entity),
        _joined("shown", entity),
        entity["etag"],
    )


def head_entity(key: ConversationKey, started: int, now: float) -> Entity:
    return {**_keys(key, row_of(key, HEAD)), "started": str(started), "written": now}


def started_in(rows: Iterable[Entity]) -> tuple[int, str]:
    """The last ticket that was started, by the head among `rows`, and the head's version; 0 and empty without one."""
    head = next((row for row in rows if is_kind(row, HEAD)), None)
    return (0, "") if head is None else (int(head["started"]), head["etag"])


def tickets_of(rows: Iterable[Entity]) -> list[int]:
    """Of the open turns among `rows`."""
    return [int(row["RowKey"].rpartition("-")[2]) for row in rows if is_kind(row, OPEN)]


def open_entity(record: TurnRecord, now: float) -> Entity:
    return {**_keys(record.key.conversation, open_row(record)), "turn": turn_row(record.key), "written": now}


def record_entity(record: Record, write: str, now: float) -> Entity:
    """`write` names one attempt to write, never two."""
    keys = _keys(record.key.conversation, record_row(record.key))
    return {**keys, "write": write, "written": now, **_split("value", record.value)}


def record_of(key: RecordKey, entity: Mapping[str, Any]) -> Record:
    return Record(key, _joined("value", entity), entity["etag"])


def message_entities(
    key: ConversationKey, ticket: int, messages: Sequence[StoredMessage], now: float
) -> Iterator[Entity]:
    for index, message in enumerate(sanitize_messages(messages)):
        position = _LAST_POSITION - (ticket * 100 + index)
        size = _PROPERTY * _PROPERTIES
        parts = [message.text[start : start + size] for start in range(0, len(message.text), size)] or [""]
        for number, part in enumerate(parts):
            yield {
                **_keys(key, row_of(key, MESSAGE, f"-{position:019d}-{number:03d}")),
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
        if len(whole) == limit:
            break
        if not is_kind(entity, MESSAGE):
            continue
        parts.append(_joined("text", entity))
        if len(parts) == entity["parts"]:
            whole.append(StoredMessage(entity["role"], "".join(parts), entity["complete"]))
            parts = []
    return whole[::-1]


def _keys(key: ConversationKey, row: str) -> Entity:
    return {"PartitionKey": partition_of(key), "RowKey": row}


def _hash(value: object) -> str:
    # As JSON, which has an escape for what no encoding has.
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _split(name: str, text: str) -> Entity:
    """One property for each piece, none for an empty text."""
    pieces = [text[start : start + _PROPERTY] for start in range(0, len(text), _PROPERTY)]
    return {f"{name}{number}": piece for number, piece in enumerate(pieces)}


def _joined(name: str, entity: Mapping[str, Any]) -> str:
    pieces: list[str] = []
    while (piece := entity.get(f"{name}{len(pieces)}")) is not None:
        pieces.append(piece)
    return "".join(pieces)
