"""Scheduled questions, imported with their first use."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from app.agent.events import Answer, Failure
from app.agent.turn import Turn
from app.messaging.conversation_references import ConversationReferences
from app.storage.conversations import ConversationKey
from app.storage.documents import DocumentStore
from app.storage.storage_errors import StorageError
from app.translation import translator_for

if TYPE_CHECKING:
    from app.schedules.schedule_command import ScheduleCommand
    from app.schedules.schedule_store import ScheduleStore

_log = logging.getLogger(__name__)


class Schedules:
    def __init__(self, documents: DocumentStore, references: ConversationReferences) -> None:
        self._documents = documents
        self._references = references

    @cached_property
    def store(self) -> ScheduleStore:
        from app.schedules.schedule_store import ScheduleStore  # noqa: PLC0415

        return ScheduleStore(self._documents)

    @cached_property
    def _command(self) -> ScheduleCommand:
        from app.schedules.schedule_command import ScheduleCommand  # noqa: PLC0415
        from app.schedules.time_zones import TimeZones  # noqa: PLC0415

        return ScheduleCommand(self.store, TimeZones(self._documents), self._references)

    async def command(self, turn: Turn, words: str) -> Answer:
        """What is asked by the words after `/schedule`. Raises `StorageError`."""
        from app.schedules.schedule_command import ScheduleRequest  # noqa: PLC0415

        key = turn.idempotency_key
        request = ScheduleRequest(turn.conversation, turn.caller, turn.locale, turn.time_zone, key, words)
        said = await self._command.answer(request)
        return Answer(said.text, by_model=False, blocks=said.blocks)

    async def is_wanted(self, turn: Turn) -> bool:
        """False where the schedule was removed while its question stood in the queue."""
        try:
            return await self.store.has(turn.conversation, turn.id)
        except StorageError as failure:
            _log.warning("Whether a schedule is still there is not known (%s): it is asked", type(failure).__name__)
            return True

    async def review(self, turn: Turn, end: Answer | Failure) -> Answer | Failure:
        """An empty answer where the condition of the schedule keeps `end` back."""
        from app.schedules.schedule_sentences import NOT_COMPARED  # noqa: PLC0415

        try:
            blocks = None if isinstance(end, Failure) else end.blocks
            review = await self.store.review(turn.conversation, turn.id, blocks)
        except StorageError as failure:
            _log.warning("A scheduled answer could not be compared (%s): it is shown", type(failure).__name__)
            return end
        if not review.is_shown:
            return Answer("", by_model=False)
        note = NOT_COMPARED.get(review.outcome) if review.outcome is not None else None
        if note is None or isinstance(end, Failure):
            return end
        return replace(end, text=f"{end.text}\n\n{translator_for(turn.locale)(note)}")

    async def forget(self, conversation: ConversationKey, *, threads: bool = False) -> None:
        """Raises `StorageError`."""
        await self.store.forget(conversation, threads=threads)
