"""What may be done once, whoever is told to do it again."""

from __future__ import annotations

from app.storage.conversations import ConversationKey
from app.storage.ledger import Changed
from app.storage.records import Record, RecordKey, Records


async def is_first(records: Records, conversation: ConversationKey, what: str) -> bool:
    """Raises `app.storage.failures.StorageFailed`."""
    try:
        await records.write(Record(RecordKey(conversation, what), ""))
    except Changed:
        return False
    return True
