"""What may be done once, whoever is told to do it again."""

from __future__ import annotations

from app.storage.conversations import ConversationKey
from app.storage.keyed_records import Record, RecordKey, Records
from app.storage.ledger import ConcurrentUpdateError


async def first_time(records: Records, conversation: ConversationKey, what: str) -> bool:
    """Raises `app.storage.storage_errors.StorageError`."""
    try:
        await records.write(Record(RecordKey(conversation, what), ""))
    except ConcurrentUpdateError:
        return False
    return True
