"""Ratings of answers: taken, taken back, delivered and forgotten."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping

from app.common.text import replace_lone_surrogates
from app.databricks.genie_api import GenieApi
from app.feedback.assessments import Assessments
from app.feedback.feedback_targets import FeedbackTargets
from app.feedback.rating_delivery import RatingDelivery
from app.feedback.rating_keys import answer_id, conversation_prefix, person_id, rating_id
from app.feedback.rating_records import RatingRecord, RatingRecords, Reaction
from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore, delete_all
from app.storage.storage_errors import ConcurrentUpdateError

MAX_COMMENT_CHARACTERS = 4_000
# Nothing else says whose pseudonym it is: once this is deleted, nobody knows any more.
_PSEUDONYMS = Collection("rating_pseudonyms", retention_days=400)


class Ratings:
    """Kept for `retention_days`, as conversations are. `genie` is None where no answer comes from Genie.

    Every method raises `StorageError`.
    """

    def __init__(
        self, documents: DocumentStore, assessments: Assessments, genie: GenieApi | None, *, retention_days: float
    ) -> None:
        self._documents = documents
        self._records = RatingRecords(documents, retention_days=retention_days)
        self.targets = FeedbackTargets(documents, retention_days=retention_days)
        self._delivery = RatingDelivery(self._records, self.targets, assessments, genie)

    async def rate(
        self,
        conversation: ConversationKey,
        activity_id: str,
        person: str,
        reaction: Reaction,
        comment: str = "",
        *,
        said_at: float = math.inf,
    ) -> str:
        """Keeps what `person`, the channel's id of them, thinks of an answer from now on; `deliver` tells the others.

        What was `said_at` an earlier moment than what is kept is a late repeat, and changes nothing. Returns the id of
        the rating.
        """
        rating = rating_id(conversation, activity_id, person)
        answer = answer_id(conversation, activity_id)
        found = await self._records.find(conversation.tenant, rating)
        source_id = await self._pseudonym(conversation.tenant, person) if found is None else found.source_id
        comment = replace_lone_surrogates(comment[:MAX_COMMENT_CHARACTERS])

        def rated(record: RatingRecord | None) -> RatingRecord | None:
            known = RatingRecord(answer=answer, source_id=source_id, reaction=reaction, revision=0)
            record = record or known
            if said_at < record.said_at:
                return None
            said = {"reaction": reaction, "comment": comment, "revision": record.revision + 1}
            # One who takes a rating back presses by another clock.
            return record.model_copy(update=said | ({"said_at": said_at} if said_at < math.inf else {}))

        await self._records.change(conversation.tenant, rating, rated)
        return rating

    async def find(self, conversation: ConversationKey, activity_id: str, person: str) -> Reaction:
        """`Reaction.NONE` where there is no rating."""
        record = await self._records.find(conversation.tenant, rating_id(conversation, activity_id, person))
        return Reaction.NONE if record is None else record.reaction

    async def find_all(self, conversation: ConversationKey, person: str) -> Mapping[str, RatingRecord]:
        """What `person` has said in the conversation, by `app.feedback.rating_keys.answer_id`."""
        by_person = f"/{person_id(person)}"
        found = await self._records.find_all(conversation.tenant, conversation_prefix(conversation))
        return {record.answer: record for rating, record in found.items() if rating.endswith(by_person)}

    async def deliver(self, tenant: str, rating: str, *, is_first_attempt: bool) -> None:
        """As `RatingDelivery.deliver`."""
        await self._delivery.deliver(tenant, rating, is_first_attempt=is_first_attempt)

    async def forget(self, conversation: ConversationKey, *, threads: bool = False) -> None:
        """Deletes what is kept here; what MLflow and Genie were told stays there."""
        prefix = conversation_prefix(conversation, threads=threads)
        for collection in (self._records.collection, self.targets.collection):
            await delete_all(self._documents, collection, conversation.tenant, prefix=prefix)

    async def _pseudonym(self, tenant: str, person: str) -> str:
        key = DocumentKey(_PSEUDONYMS, tenant, person_id(person))
        if (found := await self._documents.get(key)) is not None:
            return found.value
        try:
            return (await self._documents.put(Document(key, f"user-{uuid.uuid4().hex}"))).value
        except ConcurrentUpdateError:
            found = await self._documents.get(key)
            return found.value if found is not None else "user"
