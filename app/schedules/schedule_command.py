"""What `/schedule` does: adds, lists and removes the schedules of a conversation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from app.common.caller import Caller
from app.content.blocks import Actions, Block
from app.messaging.actions import ask_button
from app.messaging.conversation_references import ConversationReferences
from app.schedules import schedule_sentences as sentences
from app.schedules.recurrence import zone_of
from app.schedules.schedule_store import MAX_SCHEDULES, Schedule, ScheduleStore, TooManySchedulesError
from app.schedules.time_zones import TimeZones, suggested
from app.schedules.when_parser import When, parse_when, split_question
from app.storage.conversations import ConversationKey
from app.translation import Translator, translator_for

MAX_QUESTION_CHARACTERS = 1_000
_ID_CHARACTERS = 8
_REMOVE_WORDS = ("remove", "delete")


@dataclass(frozen=True, slots=True)
class ScheduleRequest:
    """`text` is what follows the command. `time_zone` is what the person's client says of it: an IANA name, an offset
    such as `+01:00`, or nothing. `idempotency_key` is that of the turn.
    """

    conversation: ConversationKey
    caller: Caller
    locale: str
    time_zone: str
    idempotency_key: str
    text: str


@dataclass(frozen=True, slots=True)
class ScheduleAnswer:
    text: str
    blocks: tuple[Block, ...] = ()


class ScheduleCommand:
    def __init__(
        self,
        store: ScheduleStore,
        zones: TimeZones,
        references: ConversationReferences,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._zones = zones
        self._references = references
        self._clock = clock

    async def answer(self, request: ScheduleRequest) -> ScheduleAnswer:
        """Raises `StorageError`."""
        translate = translator_for(request.locale)
        words = request.text.split()
        if not words:
            return await self._list(request, translate)
        if len(words) == 2 and words[0].lower() in _REMOVE_WORDS:
            removed = await self._store.remove(request.conversation, words[1].lower()[:_ID_CHARACTERS])
            return ScheduleAnswer(translate(sentences.REMOVED if removed else sentences.NOT_THERE))
        return await self._add(request, translate)

    async def _list(self, request: ScheduleRequest, translate: Translator) -> ScheduleAnswer:
        schedules = await self._store.find_all(request.conversation)
        if not schedules:
            return ScheduleAnswer(f"{translate(sentences.NONE)} {translate(sentences.USAGE)}")
        lines, buttons = [translate(sentences.LISTED), ""], []
        for number, (schedule, due_at) in enumerate(schedules, 1):
            line = translate(
                sentences.LISTED_ONE,
                when=sentences.described(schedule.recurrence, schedule.condition, translate),
                zone=schedule.zone,
                next=sentences.local_time(due_at, zone_of(schedule.zone) or ZoneInfo("UTC")),
                question=schedule.question,
            )
            lines.append(f"{number}. {line}")
            buttons.append(ask_button(translate(sentences.REMOVE, number=number), _removal(schedule)))
        return ScheduleAnswer("\n".join(lines), (Actions(tuple(buttons)),))

    async def _add(self, request: ScheduleRequest, translate: Translator) -> ScheduleAnswer:
        when_text, question = split_question(request.text)
        question = " ".join(question.split())
        when = parse_when(when_text, translate.language)
        if when is None or not question:
            return ScheduleAnswer(translate(sentences.USAGE))
        if len(question) > MAX_QUESTION_CHARACTERS:
            return ScheduleAnswer(translate(sentences.TOO_LONG, count=MAX_QUESTION_CHARACTERS))
        # The first message of a conversation may have brought its reference a moment ago.
        await self._references.flush()
        if not await self._references.can_write_to(request.conversation):
            return ScheduleAnswer(translate(sentences.NOT_HERE))
        if when.zone and zone_of(when.zone) is None:
            return ScheduleAnswer(translate(sentences.NO_SUCH_ZONE, zone=when.zone))
        zone = await self._zone(request, when)
        if zone is None:
            return self._ask_zone(request, when_text, question, translate)
        try:
            return await self._added(request, when, zone, question, translate)
        except TooManySchedulesError:
            return ScheduleAnswer(translate(sentences.TOO_MANY, count=MAX_SCHEDULES))

    async def _added(
        self, request: ScheduleRequest, when: When, zone: ZoneInfo, question: str, translate: Translator
    ) -> ScheduleAnswer:
        key = request.conversation
        schedule = Schedule(
            id=request.idempotency_key[:_ID_CHARACTERS],
            tenant=key.tenant,
            conversation=key.conversation,
            thread=key.thread,
            question=question,
            recurrence=when.recurrence,
            condition=when.condition,
            zone=zone.key,
            locale=request.locale,
            caller=request.caller,
        )
        due_at = await self._store.add(schedule)
        text = translate(
            sentences.ADDED,
            when=sentences.described(when.recurrence, when.condition, translate),
            zone=zone.key,
            next=sentences.local_time(due_at, zone),
            question=question,
        )
        if when.condition is not None:
            text = f"{text}\n\n{translate(sentences.ADDED_CONDITION)}"
        button = ask_button(translate(sentences.REMOVE_ONE), _removal(schedule))
        return ScheduleAnswer(text, (Actions((button,)),))

    async def _zone(self, request: ScheduleRequest, when: When) -> ZoneInfo | None:
        """As it was written, as the client says, or as it was known before."""
        zone = zone_of(when.zone) or zone_of(request.time_zone)
        if zone is None:
            return await self._zones.find(request.caller)
        await self._zones.remember(request.caller, zone)
        return zone

    def _ask_zone(self, request: ScheduleRequest, when: str, question: str, translate: Translator) -> ScheduleAnswer:
        names = suggested(request.time_zone, self._clock())
        buttons = tuple(ask_button(name, f"/schedule {when} {name}: {question}") for name in names)
        text = translate(sentences.WHICH_ZONE, when=when, question=question)
        return ScheduleAnswer(text, (Actions(buttons),) if buttons else ())


def _removal(schedule: Schedule) -> str:
    return f"/schedule remove {schedule.id}"
