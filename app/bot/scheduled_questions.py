"""Scheduled questions that are due: each is put on the queue as a turn of its conversation."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from app.bot.inbound.conversation_reference import target_of
from app.bot.inbound.inbound_question import InboundQuestion
from app.messaging.conversation_references import ConversationReference, ConversationReferences
from app.schedules.schedule_sentences import described
from app.schedules.schedule_store import DueSchedule, Schedule, ScheduleStore
from app.storage.ledger import TurnKey
from app.storage.queue import Queue
from app.translation import translator_for
from app.turns.queue_message import TurnMessage

_log = logging.getLogger(__name__)


class ScheduledQuestions:
    """`clock` is in seconds since 1970."""

    def __init__(
        self,
        store: ScheduleStore,
        references: ConversationReferences,
        queue: Queue,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._references = references
        self._queue = queue
        self._clock = clock

    async def ask_due(self) -> int:
        """Returns how many questions were put on the queue. Raises `StorageError`: the next call finds what is left.

        An occasion may be put there more than once, by several workers or after a crash: its turn is entered once.
        """
        count = 0
        async for page in self._store.due():
            asked = await asyncio.gather(*map(self._ask, page), return_exceptions=True)
            if failed := [each for each in asked if isinstance(each, BaseException)]:
                # After the others of the page: one that fails holds up none of them.
                raise failed[0]
            count += sum(each is True for each in asked)
        if count:
            _log.info("Scheduled questions on the queue: %d", count)
        return count

    async def _ask(self, due: DueSchedule) -> bool:
        key = due.schedule.key
        reference = await self._references.find(key)
        if reference is None:
            _log.info("A schedule is removed: the bot cannot write to its conversation any more")
            await self._store.remove_unreachable(due)
            return False
        payload = _question(due.schedule, reference).model_dump_json()
        message = TurnMessage(TurnKey(key, due.turn_id), self._clock(), payload)
        await self._queue.put(message.to_json(), visibility_timeout=0)
        # After that: a worker that vanishes here asks again, under the same id.
        await self._store.advance(due)
        return True


def _question(schedule: Schedule, reference: ConversationReference) -> InboundQuestion:
    target = target_of(reference, schedule.thread)
    return InboundQuestion(
        channel_id=reference.channel_id,
        conversation_type=reference.conversation_type,
        service_url=target.service_url,
        conversation=target.conversation,
        fields=target.fields,
        question=schedule.question,
        locale=schedule.locale,
        caller=schedule.caller,
        schedule=described(schedule.recurrence, schedule.condition, translator_for(schedule.locale)),
    )
