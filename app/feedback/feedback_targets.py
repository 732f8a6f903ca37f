"""Where ratings of an answer count, kept under the id of the message that the channel names when somebody rates it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from pydantic import TypeAdapter, ValidationError

from app.content.feedback_target import FeedbackTarget
from app.feedback.rating_keys import answer_id
from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError

_NAME = "feedback_targets"


@cache
def _adapter() -> TypeAdapter[tuple[FeedbackTarget, ...]]:
    # Built at first use: the first answer of a worker should not wait for it.
    return TypeAdapter(tuple[FeedbackTarget, ...])


class FeedbackTargets:
    """Kept for `retention_days`. Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore, *, retention_days: float) -> None:
        self._documents = documents
        self.collection = Collection(_NAME, retention_days)

    async def save(self, conversation: ConversationKey, activity_id: str, targets: Sequence[FeedbackTarget]) -> None:
        """Those of one answer, which never change."""
        key = DocumentKey(self.collection, conversation.tenant, answer_id(conversation, activity_id))
        try:
            await self._documents.put(Document(key, _adapter().dump_json(tuple(targets)).decode()))
        except ConcurrentUpdateError:
            # An earlier attempt to end the turn has written them.
            return

    async def find(self, tenant: str, answer: str) -> tuple[FeedbackTarget, ...] | None:
        """`answer` as `app.feedback.rating_keys.answer_id`. None where nothing is kept of it."""
        document = await self._documents.get(DocumentKey(self.collection, tenant, answer))
        if document is None:
            return None
        try:
            return _adapter().validate_json(document.value)
        except ValidationError:
            return None
