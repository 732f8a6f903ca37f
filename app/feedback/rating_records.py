"""What each person thinks of each answer, and how far that has been told to MLflow and Genie."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from app.content.feedback_target import FeedbackTarget
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore, list_all
from app.storage.storage_errors import ConcurrentUpdateError, StorageError

_NAME = "ratings"
_MAX_UPDATE_ATTEMPTS = 10


class Reaction(StrEnum):
    LIKE = "like"
    DISLIKE = "dislike"
    NONE = "none"
    """Taken back."""


class Destination(BaseModel):
    """`assessment_id` is that of the assessment in MLflow. `is_creating` is set before one is created, and unset when
    the outcome is known.
    """

    # Built at first use: the first answer of a worker should not wait for it.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)

    target: FeedbackTarget
    assessment_id: str = ""
    is_creating: bool = False


class RatingRecord(BaseModel):
    """`answer` names the answer as `app.feedback.rating_keys.answer_id`, `source_id` is the person's pseudonym.

    `revision` counts the changes of mind, `delivered_revision` is the last one that all `destinations` have; these are
    None until they have been looked up. `said_at` is when the channel took the rating. `owner` alone delivers it, until
    `lease_until`. Times are in seconds since 1970.
    """

    # Built at first use: the first answer of a worker should not wait for it.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True)

    v: Literal[1] = 1
    answer: str
    source_id: str
    reaction: Reaction
    comment: str = ""
    said_at: float = 0.0
    revision: int = 1
    delivered_revision: int = 0
    destinations: tuple[Destination, ...] | None = None
    owner: str = ""
    lease_until: float = 0.0

    @property
    def is_delivered(self) -> bool:
        return self.delivered_revision >= self.revision

    def with_destination(self, number: int, destination: Destination) -> RatingRecord:
        others = list(self.destinations or ())
        others[number] = destination
        return self.model_copy(update={"destinations": tuple(others)})


class RatingRecords:
    """Kept for `retention_days` after the last change. Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore, *, retention_days: float) -> None:
        self._documents = documents
        self.collection = Collection(_NAME, retention_days)

    async def find(self, tenant: str, rating: str) -> RatingRecord | None:
        document = await self._documents.get(DocumentKey(self.collection, tenant, rating))
        return None if document is None else _parse(document)

    async def find_all(self, tenant: str, prefix: str) -> dict[str, RatingRecord]:
        """By their ids, those that begin with `prefix`."""
        return {
            document.key.id: record
            async for document in list_all(self._documents, self.collection, tenant, prefix=prefix)
            if (record := _parse(document)) is not None
        }

    async def change(
        self, tenant: str, rating: str, change: Callable[[RatingRecord | None], RatingRecord | None]
    ) -> RatingRecord | None:
        """Stores what `change` makes of the record as it is now, and returns it; None leaves the record as it is.

        `change` is called again where somebody else has changed the record meanwhile.
        """
        key = DocumentKey(self.collection, tenant, rating)
        for _ in range(_MAX_UPDATE_ATTEMPTS):
            document = await self._documents.get(key)
            changed = change(None if document is None else _parse(document))
            if changed is None:
                return None
            version = document.version if document is not None else ""
            try:
                await self._documents.put(Document(key, changed.model_dump_json(), version=version))
            except ConcurrentUpdateError:
                continue
            return changed
        raise StorageError("a rating was changed by others each time")


def _parse(document: Document) -> RatingRecord | None:
    try:
        return RatingRecord.model_validate_json(document.value)
    except ValidationError:
        return None
