"""The schedules of all conversations, in the store; each is due at its next occasion."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, ValidationError

from app.common.caller import Caller
from app.content.blocks import Block
from app.schedules.condition import Condition, Outcome
from app.schedules.recurrence import Recurrence, occasion_of, zone_of
from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore, delete_all
from app.storage.storage_errors import ConcurrentUpdateError

_log = logging.getLogger(__name__)

# Each occasion writes the document again.
SCHEDULES: Final = Collection("schedules", retention_days=400)
MAX_SCHEDULES: Final = 20
"""Of one conversation."""

_PAGE_SIZE = 32
# What a newer version wrote is looked at again after that.
_UNREADABLE_SECONDS = 3600.0
_MAX_TRIES = 5


class TooManySchedulesError(Exception):
    """The conversation has `MAX_SCHEDULES`."""


class Schedule(BaseModel):
    """`zone` is an IANA name. `caller` and `locale` are those of the person who made it, as whom it is asked.

    With a `condition` an answer is shown when its outcome becomes another one: `reviewed` is the last occasion whose
    answer was compared, `outcome` what came of it, and `was_shown` whether the answer was.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: str
    tenant: str
    conversation: str
    thread: str = ""
    question: str
    recurrence: Recurrence
    condition: Condition | None = None
    zone: str
    locale: str = ""
    caller: Caller
    reviewed: str = ""
    outcome: Outcome | None = None
    was_shown: bool = False

    @property
    def key(self) -> ConversationKey:
        return ConversationKey(self.tenant, self.conversation, self.thread)

    def next_after(self, moment: float) -> float:
        return self.recurrence.next_after(moment, zone_of(self.zone) or ZoneInfo("UTC"))


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """`turn_id` is the same in every worker that finds this occasion. `due_at` in seconds since 1970."""

    schedule: Schedule
    due_at: float
    document: Document

    @property
    def turn_id(self) -> str:
        return f"schedule/{self.schedule.id}/{occasion_of(self.due_at)}"


@dataclass(frozen=True, slots=True)
class Review:
    """Whether an answer is shown, and what its comparison came to, if there was one."""

    is_shown: bool
    outcome: Outcome | None = None


SHOWN: Final = Review(is_shown=True)


class ScheduleStore:
    """`clock` is in seconds since 1970. Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore, *, clock: Callable[[], float] = time.time) -> None:
        self._documents = documents
        self._clock = clock

    async def add(self, schedule: Schedule) -> float:
        """Returns when it is due next. Does nothing for one that is there already. Raises `TooManySchedulesError`."""
        known = await self.find_all(schedule.key)
        for existing, due_at in known:
            if existing.id == schedule.id:
                return due_at
        if len(known) >= MAX_SCHEDULES:
            raise TooManySchedulesError
        due_at = schedule.next_after(self._clock())
        with suppress(ConcurrentUpdateError):
            await self._documents.put(Document(_key(schedule.key, schedule.id), schedule.model_dump_json(), due_at))
        return due_at

    async def find_all(self, conversation: ConversationKey) -> list[tuple[Schedule, float]]:
        """With when each is due next, earliest first."""
        page = await self._documents.list_page(SCHEDULES, conversation.tenant, prefix=_prefix(conversation))
        found = [(schedule, each.due_at or 0.0) for each in page.documents if (schedule := _parse(each)) is not None]
        return sorted(found, key=lambda each: (each[1], each[0].id))

    async def remove(self, conversation: ConversationKey, id: str) -> bool:
        """False if there is none of that id in the conversation."""
        document = await self._documents.get(_key(conversation, id))
        if document is None:
            return False
        await self._documents.delete(document.key)
        return True

    async def forget(self, conversation: ConversationKey, *, threads: bool = False) -> None:
        prefix = _prefix(conversation, threads=threads)
        await delete_all(self._documents, SCHEDULES, conversation.tenant, prefix=prefix)

    async def due(self) -> AsyncIterator[list[DueSchedule]]:
        """Those of all conversations in pages, to be `advance`d before the next page. Several workers get the same."""
        now = self._clock()
        while documents := await self._documents.due_before(SCHEDULES, now, limit=_PAGE_SIZE):
            due: list[DueSchedule] = []
            for document in documents:
                schedule = _parse(document)
                if schedule is not None:
                    due.append(DueSchedule(schedule, document.due_at or 0.0, document))
                    continue
                _log.warning("A schedule cannot be read; it is looked at again in an hour")
                with suppress(ConcurrentUpdateError):
                    await self._documents.put(replace(document, due_at=now + _UNREADABLE_SECONDS))
            yield due

    async def advance(self, due: DueSchedule) -> None:
        """To the first occasion after now: those that were missed are not made up for one by one."""
        with suppress(ConcurrentUpdateError):
            # Another worker has advanced it, or an answer has just been compared: it is found again.
            await self._documents.put(replace(due.document, due_at=due.schedule.next_after(self._clock())))

    async def remove_unreachable(self, due: DueSchedule) -> None:
        """One whose conversation the bot can no longer write to."""
        await self._documents.delete(due.document.key)

    async def has(self, conversation: ConversationKey, turn_id: str) -> bool:
        """Whether the schedule of an occasion is still there."""
        id, _ = _named(turn_id)
        return await self._documents.get(_key(conversation, id)) is not None

    async def review(self, conversation: ConversationKey, turn_id: str, blocks: Iterable[Block] | None) -> Review:
        """Whether the answer of an occasion is shown: the same however often it is asked. A failure has no `blocks`."""
        id, occasion = _named(turn_id)
        for _ in range(_MAX_TRIES):
            document = await self._documents.get(_key(conversation, id))
            schedule = None if document is None else _parse(document)
            if document is None or schedule is None or schedule.condition is None:
                return SHOWN
            if schedule.reviewed != occasion:
                outcome = Outcome.FAILED if blocks is None else schedule.condition.outcome(blocks)
                is_shown = outcome is not Outcome.NOT_MET and outcome is not schedule.outcome
                update = {"reviewed": occasion, "outcome": outcome, "was_shown": is_shown}
                schedule = schedule.model_copy(update=update)
                try:
                    await self._documents.put(replace(document, value=schedule.model_dump_json()))
                except ConcurrentUpdateError:
                    continue
            return Review(schedule.was_shown, schedule.outcome)
        return SHOWN


def _named(turn_id: str) -> tuple[str, str]:
    """The id of the schedule, and the occasion: see `DueSchedule.turn_id`."""
    _, id, occasion = turn_id.split("/", 2)
    return id, occasion


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _prefix(conversation: ConversationKey, *, threads: bool = False) -> str:
    prefix = f"{_digest(conversation.conversation)}/"
    return prefix if threads else f"{prefix}{_digest(conversation.thread)}/"


def _key(conversation: ConversationKey, id: str) -> DocumentKey:
    return DocumentKey(SCHEDULES, conversation.tenant, f"{_prefix(conversation)}{id}")


def _parse(document: Document) -> Schedule | None:
    try:
        return Schedule.model_validate_json(document.value)
    except ValidationError:
        return None
