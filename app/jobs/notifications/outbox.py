"""An outbox: what is to be handed to a server is stored first, and tried again while the server asks for patience.

A worker that dies loses nothing. If it dies between the server's answer and its own note of it, the delivery is made
again.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from app.resilience.retry import Backoff, retry
from app.storage.documents import MAX_PAGE_SIZE, Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError, StorageError

# 1, 2, 4, 8, 16 minutes, then every half hour: about two hours in all, since greylisting wants minutes and an outage of
# a server may last an hour.
_ATTEMPTS: Final = Backoff(first_seconds=60.0, longest_seconds=1800.0, attempts=9, jitter=0.2)
# Longer than one attempt may take: then its worker has died.
_CLAIM_SECONDS = 300.0
# What a newer version stored is looked at again after that.
_UNREADABLE_SECONDS = 3600.0
_BATCH = 32
# What a slow server has not taken by then is left to the next pass.
_SECONDS = 120.0
_WRITES = Backoff(first_seconds=0.5, attempts=3)
_TENANT = "job-watch"

MAX_UNCLEAR_ATTEMPTS = 2
"""An attempt that got no answer may have delivered it."""

_log = logging.getLogger(__name__)


class Delivery(BaseModel):
    """Times are in seconds since 1970; 0 is never. `failure` is the last error in a sentence."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    attempts: int = 0
    unclear_attempts: int = 0
    queued_at_seconds: float = 0.0
    delivered_at_seconds: float = 0.0
    next_attempt_at_seconds: float = 0.0
    failure: str = ""
    claim_id: str = ""

    @property
    def is_waiting(self) -> bool:
        """Whether another attempt is to be made."""
        raise NotImplementedError

    def given_up(self, reason: str) -> Self:
        """Without further attempts."""
        raise NotImplementedError

    def put_off(self, now: float, *, at_least_seconds: float = 0.0) -> Self:
        """To the next attempt, or given up after the last."""
        pause = _ATTEMPTS.pause_seconds(self.attempts)
        if pause is None:
            return self.given_up(self.failure)
        return self.put_off_until(now + max(pause, at_least_seconds))

    def put_off_until(self, at_seconds: float) -> Self:
        return self.model_copy(update={"next_attempt_at_seconds": at_seconds, "claim_id": ""})


_Delivery = TypeVar("_Delivery", bound=Delivery)


@dataclass(frozen=True, slots=True)
class Enqueued(Generic[_Delivery]):
    """`is_new` is False where there was a delivery with this id before: `delivery` is that one."""

    delivery: _Delivery
    is_new: bool


@dataclass(frozen=True, slots=True)
class Attempt(Generic[_Delivery]):
    """What an attempt made of the delivery. `server_is_unreachable`: others would fail now too."""

    delivery: _Delivery
    server_is_unreachable: bool = False


class Outbox(Generic[_Delivery]):
    """For one server, with a collection of its own, so that one that is away holds up nothing else.

    `attempt` hands a delivery to the server once. `clock` is in seconds since 1970. Methods raise `StorageError`.
    """

    def __init__(
        self,
        documents: DocumentStore,
        collection: Collection,
        kind: type[_Delivery],
        attempt: Callable[[_Delivery], Awaitable[Attempt[_Delivery]]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._documents = documents
        self._collection = collection
        self._kind = kind
        self._make_attempt = attempt
        self._clock = clock

    async def put(self, id_: str, delivery: _Delivery) -> Enqueued[_Delivery]:
        """Stores it for `deliver_due`, from `next_attempt_at_seconds` on. Raises `ValueError` for what is too long."""
        due_at = delivery.next_attempt_at_seconds if delivery.is_waiting else None
        return (await self._create(id_, delivery, due_at))[1]

    async def send(self, id_: str, delivery: _Delivery) -> Enqueued[_Delivery]:
        """Stores it and tries it once; what the server does not take now is left to `deliver_due`.

        Raises `ValueError` for what is too long.
        """
        if not delivery.is_waiting:
            return await self.put(id_, delivery)
        claimed = delivery.model_copy(update={"attempts": 1, "claim_id": uuid.uuid4().hex})
        document, enqueued = await self._create(id_, claimed, self._clock() + _CLAIM_SECONDS)
        if document is None:
            return enqueued
        return Enqueued((await self._attempt(document, claimed)).delivery, is_new=True)

    async def find(self, id_: str) -> _Delivery | None:
        document = await self._documents.get(self._key(id_))
        return self._parse(document) if document is not None else None

    async def first_waiting(self, prefix: str) -> str:
        """The id of the first delivery that waits among those whose id begins with `prefix`; "" where none does."""
        page = await self._documents.list_page(self._collection, _TENANT, prefix=prefix, limit=MAX_PAGE_SIZE)
        waiting = (
            document.key.id
            for document in page.documents
            if (delivery := self._parse(document)) is not None and delivery.is_waiting
        )
        return min(waiting, default="")

    async def deliver_due(self) -> list[_Delivery]:
        """Tries each delivery that is due, as long as there is time; returns those that were tried.

        Stops at the first sign that the server cannot be reached, since each further delivery would wait for it too.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + _SECONDS
        tried: list[_Delivery] = []
        while True:
            due = await self._documents.due_before(self._collection, self._clock(), limit=_BATCH)
            for document in sorted(due, key=lambda each: each.key.id):
                claimed = await self._claim(document)
                if claimed is None:
                    continue
                result = await self._attempt(*claimed)
                tried.append(result.delivery)
                if result.server_is_unreachable or loop.time() >= ends_at:
                    return tried
            if len(due) < _BATCH:
                return tried

    async def _create(
        self, id_: str, delivery: _Delivery, due_at: float | None
    ) -> tuple[Document | None, Enqueued[_Delivery]]:
        document = Document(self._key(id_), delivery.model_dump_json(), due_at)
        try:
            return await self._put(document), Enqueued(delivery, is_new=True)
        except ConcurrentUpdateError:
            return None, Enqueued(await self.find(id_) or delivery, is_new=False)

    async def _claim(self, document: Document) -> tuple[Document, _Delivery] | None:
        now = self._clock()
        delivery = self._parse(document)
        try:
            if delivery is None:
                _log.warning("A stored delivery in %s cannot be read by this version", self._collection.name)
                await self._put(replace(document, due_at=now + _UNREADABLE_SECONDS))
                return None
            claimed = delivery.model_copy(
                update={
                    "attempts": delivery.attempts + 1,
                    # The worker that claimed it has died.
                    "unclear_attempts": delivery.unclear_attempts + bool(delivery.claim_id),
                    "claim_id": uuid.uuid4().hex,
                }
            )
            stored = replace(document, value=claimed.model_dump_json(), due_at=now + _CLAIM_SECONDS)
            return await self._put(stored), claimed
        except ConcurrentUpdateError:
            return None  # another worker has claimed it

    async def _attempt(self, document: Document, delivery: _Delivery) -> Attempt[_Delivery]:
        result = await self._make_attempt(delivery)
        after = result.delivery
        due_at = after.next_attempt_at_seconds if after.is_waiting else None
        try:
            await self._put(replace(document, value=after.model_dump_json(), due_at=due_at))
        except ConcurrentUpdateError:
            _log.warning("A delivery took longer than its claim; another worker may have made it too")
        return result

    async def _put(self, document: Document) -> Document:
        return await retry(lambda: self._documents.put(document), _WRITES.after(StorageError))

    def _key(self, id_: str) -> DocumentKey:
        # `due_before` knows no tenants: whoever runs next sends what is due, so all are of one.
        return DocumentKey(self._collection, _TENANT, id_)

    def _parse(self, document: Document) -> _Delivery | None:
        try:
            return self._kind.model_validate_json(document.value)
        except ValidationError:
            return None
