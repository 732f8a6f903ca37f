"""Ratings on the queue: each is told to MLflow and Genie, and again later where that failed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from app.storage.queue import Queue
from app.storage.storage_errors import StorageError
from app.turns.queue_message import Envelope

if TYPE_CHECKING:
    from app.feedback.ratings import Ratings

_log = logging.getLogger(__name__)

RATING_KIND: Final = "rating"

# Before each further attempt: a trace may be written minutes after its answer.
_RETRY_SECONDS = (5.0, 30.0, 120.0, 600.0, 3_600.0, 6 * 3_600.0)


class _RatingMessage(Envelope):
    kind: Literal["rating"] = RATING_KIND
    tenant: str
    rating: str
    attempt_count: int = 0


class RatingQueue:
    """`ratings` is called when the first one comes."""

    def __init__(self, ratings: Callable[[], Ratings], queue: Queue) -> None:
        self._ratings = ratings
        self._queue = queue

    async def put(self, tenant: str, rating: str) -> None:
        """`rating` as `Ratings.rate` returned it. Raises `StorageError`."""
        await self._queue.put(_RatingMessage(v=1, tenant=tenant, rating=rating).to_json(), visibility_timeout=0.0)

    async def deliver(self, body: bytes) -> None:
        """Handles queue messages of the kind `rating`."""
        from app.feedback.rating_delivery import RatingNotDeliveredError  # noqa: PLC0415

        message = _RatingMessage.from_json(body)
        attempt = message.attempt_count
        try:
            await self._ratings().deliver(message.tenant, message.rating, is_first_attempt=attempt == 0)
        except (RatingNotDeliveredError, StorageError) as failure:
            if attempt >= len(_RETRY_SECONDS):
                _log.error(
                    "A rating could not be told in %d attempts (%s); it is kept here alone", attempt + 1, failure
                )
                return
            _log.warning("A rating could not be told (%s); it is tried again", failure)
            again = message.model_copy(update={"attempt_count": attempt + 1})
            await self._queue.put(again.to_json(), visibility_timeout=_RETRY_SECONDS[attempt])
