"""Small records of a conversation, written by whoever has read them last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.storage.conversations import ConversationKey


@dataclass(frozen=True, slots=True)
class RecordKey:
    """A `lasting` record outlives what people forget; it goes with the retention, and when the app is removed."""

    conversation: ConversationKey
    name: str
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """`version` changes with every write; a record that is not there yet has none."""

    key: RecordKey
    value: str
    version: str = ""


class Records(Protocol):
    async def read(self, key: RecordKey) -> Record | None: ...

    async def write(self, record: Record) -> Record:
        """Writes if nobody has since `record` was read. Raises `app.storage.ledger.Changed`."""
        ...
