"""`/schedule` from the message to the answers that come by themselves: by endpoint, timer and queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.bot.scheduled_questions import ScheduledQuestions
from app.common.caller import Caller
from app.content.blocks import Cell, Column, ColumnType, Table
from app.local.connector_server import ConnectorResponse
from app.models.model import Completed, ToolCall
from app.models.model_errors import EndpointFailedError
from app.schedules.condition import Condition, Outcome
from app.schedules.schedule_store import SCHEDULES, ScheduleStore
from app.storage.documents import DocumentStore
from app.storage.storage_errors import StorageError
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolOutput
from app.turns.queue_dispatcher import ShuttingDownError
from tests.bot.test_approvals import buttons, press
from tests.fakes.bots import Bot, MakeBot, bots
from tests.fakes.data_chat import a_data_chat

BERLIN: dict[str, Any] = {"localTimezone": "Europe/Berlin"}
TEAMS: dict[str, Any] = {
    "channelId": "msteams",
    "conversation": {"id": "a:1", "conversationType": "personal", "tenantId": "t"},
}


class Clock:
    """Friday noon in Berlin."""

    now = datetime.fromisoformat("2026-11-27T12:00+01:00").timestamp()

    def __call__(self) -> float:
        return self.now

    def set(self, moment: str) -> None:
        self.now = datetime.fromisoformat(moment).timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def make_bot(tmp_path: Path, clock: Clock) -> AsyncIterator[MakeBot]:
    async with bots(tmp_path) as make:

        def made(*replies: Any, **more: Any) -> Bot:
            bot = make(*replies, **more)
            vars(bot.schedules)["store"] = ScheduleStore(bot.documents, clock=clock)
            return bot

        yield made


async def say(bot: Bot, text: str, **more: Any) -> str:
    await bot.send(bot.activity(text, **{**BERLIN, **more}))
    return bot.messages[-1]


async def tick(bot: Bot) -> int:
    """The timer, and then the queue."""
    count = await ScheduledQuestions(bot.schedules.store, bot.references, bot.queue).ask_due()
    await bot.handle_queue()
    return count


def came_by_itself(bot: Bot) -> list[dict[str, Any]]:
    return [call.activity for call in bot.connector.calls if call.is_message and "replyToId" not in call.activity]


async def test_a_question_is_asked_again_on_its_occasions_as_the_person_and_once(
    make_bot: MakeBot, clock: Clock
) -> None:
    bot = make_bot("It grew.", "It shrank.")
    said = await say(bot, "/schedule every Monday at 8: How did *revenue* develop?")
    assert "every Monday at 08:00 (Europe/Berlin)" in said
    assert "2026-11-30 08:00" in said
    assert bot.model.requests == [], "it is not asked now"
    assert await tick(bot) == 0

    clock.set("2026-11-30T08:00:01+01:00")
    assert [await tick(bot) for _ in range(3)] == [1, 0, 0]
    clock.set("2026-12-07T08:03+01:00")
    assert await tick(bot) == 1
    first, second = came_by_itself(bot)
    assert first["text"] == "> every Monday at 08:00: How did *revenue* develop?\n\nIt grew."
    assert second["text"].endswith("It shrank.")
    assert [request.messages[-1].content for request in bot.model.requests] == ["How did *revenue* develop?"] * 2
    assert "It grew." in [message.content.split("\n\n")[-1] for message in bot.model.requests[-1].messages]


async def test_occasions_that_were_missed_while_nothing_ran_are_asked_once(make_bot: MakeBot, clock: Clock) -> None:
    bot = make_bot("1", "2")
    await say(bot, "/schedule every day at 8: Why?")
    clock.set("2026-12-04T20:00+01:00")
    assert [await tick(bot) for _ in range(2)] == [1, 0]
    clock.set("2026-12-05T08:00+01:00")
    assert await tick(bot) == 1


class Vanishing:
    """A document store that fails before a schedule is moved to its next occasion."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self.failing = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    async def put(self, document: Any) -> Any:
        if self.failing and document.key.collection == SCHEDULES:
            raise StorageError("gone")
        return await self._documents.put(document)


async def test_a_worker_that_vanishes_between_queue_and_store_costs_no_second_answer(
    make_bot: MakeBot, clock: Clock
) -> None:
    bot = make_bot("It grew.")
    await say(bot, "/schedule every day at 8: Why?")
    clock.set("2026-11-28T08:00+01:00")
    documents = Vanishing(bot.documents)
    store: Any = ScheduleStore(documents, clock=clock)
    for _ in range(2):
        with pytest.raises(StorageError):
            await ScheduledQuestions(store, bot.references, bot.queue).ask_due()
    other = make_bot("Never asked.")
    await asyncio.gather(tick(bot), tick(other))
    await bot.handle_queue()
    assert len(came_by_itself(bot)) == 1
    assert len(bot.model.requests) + len(other.model.requests) == 1


async def test_two_workers_find_the_same_occasion_and_one_answers(make_bot: MakeBot, clock: Clock) -> None:
    first, second = make_bot("One."), make_bot("One.")
    await say(first, "/schedule every hour: Why?")
    clock.set("2026-11-27T13:00+01:00")
    await asyncio.gather(tick(first), tick(second), tick(first), tick(second))
    await first.handle_queue()
    assert [message["text"] for message in came_by_itself(first)] == ["> every hour: Why?\n\nOne."]


async def test_schedules_are_listed_and_removed_with_buttons(make_bot: MakeBot, clock: Clock) -> None:
    bot = make_bot()
    await say(bot, "/schedule every day at 8: Why?")
    await say(bot, "/schedule Mondays: Who?")
    listed = await say(bot, "/schedule")
    assert listed.splitlines()[2:4] == [
        "1. every day at 08:00 (Europe/Berlin), next on 2026-11-28 08:00: Why?",
        "2. every Monday at 08:00 (Europe/Berlin), next on 2026-11-30 08:00: Who?",
    ]
    first, _ = buttons(bot).values()
    for expected in ("Removed", "no such schedule"):
        await press(bot, first, "ann", channelId="emulator")
        await bot.handle_queue()
        assert expected in bot.messages[-1]
    assert "Why?" not in await say(bot, "/schedule")
    clock.set("2026-11-28T08:00+01:00")
    assert await tick(bot) == 0


async def test_forget_deletes_the_schedules_of_the_conversation_alone(make_bot: MakeBot, clock: Clock) -> None:
    bot = make_bot("Still.")
    other = {"conversation": {"id": "c2"}}
    await say(bot, "/schedule every day at 8: Why?")
    await say(bot, "/schedule every day at 8: Who?", **other)
    await say(bot, "/forget")
    clock.set("2026-11-28T08:00+01:00")
    assert await tick(bot) == 1
    assert came_by_itself(bot)[0]["conversation"]["id"] == "c2"


@pytest.mark.parametrize("command", ["/schedule remove", "/forget"])
async def test_a_question_that_stands_in_the_queue_is_not_asked_once_its_schedule_is_removed(
    command: str, make_bot: MakeBot, clock: Clock
) -> None:
    bot = make_bot()
    await say(bot, "/schedule every day at 8: Why?")
    (button,) = buttons(bot).values()
    clock.set("2026-11-28T08:00+01:00")
    await ScheduledQuestions(bot.schedules.store, bot.references, bot.queue).ask_due()
    await say(bot, "/forget" if command == "/forget" else button["data"]["question"])
    await bot.handle_queue()
    assert came_by_itself(bot) == []
    assert bot.model.requests == []


async def test_forget_in_one_thread_of_a_channel_leaves_the_schedules_of_another(
    make_bot: MakeBot, clock: Clock
) -> None:
    bot = make_bot("Still.")
    mention = {"type": "mention", "text": "<at>Bricks</at>", "mentioned": {"id": "28:bot", "name": "Bricks"}}

    def thread(number: int) -> dict[str, Any]:
        conversation = {"id": f"19:c;messageid={number}", "conversationType": "channel", "tenantId": "t"}
        return {"channelId": "msteams", "conversation": conversation, "entities": [mention], **BERLIN}

    await bot.send(bot.activity("<at>Bricks</at> /schedule every day at 8: Why?", **thread(1)))
    await bot.send(bot.activity("<at>Bricks</at> /forget", **thread(2)))
    clock.set("2026-11-28T08:00+01:00")
    assert await tick(bot) == 1
    assert came_by_itself(bot)[-1]["text"].endswith("Still.")


async def test_the_time_zone_is_asked_once_where_a_client_names_none(make_bot: MakeBot) -> None:
    bot = make_bot()
    asked = await say(bot, "/schedule every day at 8: Why?", localTimezone=None)
    assert "In which time zone are you?" in asked
    offset = {"localTimezone": "W. Europe Standard Time", "localTimestamp": "2026-11-27T12:00:00+01:00"}
    await say(bot, "/schedule every day at 8: Why?", **offset)
    await press(bot, buttons(bot)["Europe/Berlin"], "ann", channelId="emulator")
    await bot.handle_queue()
    assert "every day at 08:00 (Europe/Berlin)" in bot.messages[-1]
    remembered = await say(bot, "/schedule every day at 9: Who?", localTimezone=None)
    assert "every day at 09:00 (Europe/Berlin)" in remembered
    assert "Europe/Madrid" in await say(bot, "/schedule every day at 9 europe/madrid: Who?")
    assert "do not know the time zone" in await say(bot, "/schedule every day at 9 Europe/Nowhere: Who?")


@pytest.mark.parametrize(
    ("text", "more", "expected"),
    [
        ("/schedule tomorrow: Why?", {}, "/schedule every Monday at 8"),
        ("/schedule every Monday at 8", {}, "/schedule every Monday at 8"),
        ("/schedule every day: " + "x" * 1001, {}, "too long"),
        ("/schedule every day: Why?", {"channelData": {"productContext": "COPILOT"}, **TEAMS}, "without being asked"),
        ("/schedule", {}, "Nothing is scheduled"),
        ("/Schedule remove 12345678", {}, "no such schedule"),
    ],
)
async def test_what_cannot_be_scheduled_is_said(
    text: str, more: dict[str, Any], expected: str, make_bot: MakeBot
) -> None:
    bot = make_bot()
    await bot.send(bot.activity(text, **BERLIN, **more))
    assert expected in bot.connector.calls[-1].activity["text"]
    assert bot.model.requests == []


async def test_a_conversation_has_a_limit_of_schedules_and_a_command_is_never_run_by_one(
    make_bot: MakeBot, clock: Clock
) -> None:
    bot = make_bot(*["I cannot."] * 20)
    for _ in range(20):
        await say(bot, "/schedule every day at 8: /forget")
    assert "no more" in await say(bot, "/schedule every day at 8: /forget")
    clock.set("2026-11-28T08:00+01:00")
    assert await tick(bot) == 20
    assert "20. every day" in await say(bot, "/schedule")


async def test_a_condition_that_cannot_be_looked_at_is_told_once_and_not_every_hour(
    make_bot: MakeBot, clock: Clock
) -> None:
    bot = make_bot(*[EndpointFailedError("down")] * 3)
    await say(bot, "/schedule when above 300: How many?")
    for hour in (13, 14, 15):
        clock.set(f"2026-11-27T{hour}:00+01:00")
        assert await tick(bot) == 1
    (message,) = came_by_itself(bot)
    assert "rror id" in message["text"]


class NoArguments(ToolArguments):
    pass


class Figures:
    """A tool that shows one figure after the other."""

    def __init__(self, *rows: Cell, plain: bool = False) -> None:
        self._rows = list(rows)
        self._plain = plain
        self.were_scheduled: list[bool] = []

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return [Tool("figure", "Shows a figure.", NoArguments, self._run, Effect.READ_ONLY)]

    async def _run(self, arguments: NoArguments, context: ToolContext) -> ToolOutput:
        self.were_scheduled.append(context.is_scheduled)
        column = Column("orders", ColumnType.NUMBER, plain=self._plain)
        return ToolOutput("shown", (Table((column,), ((self._rows.pop(0),),)),))


@pytest.mark.parametrize(
    ("total", "rows", "expected"),
    [(2, (1, 2), Outcome.NOT_MET), (80, (1, 2), Outcome.NOT_ALL_ROWS), (80, (1, 9), Outcome.MET)],
)
def test_a_limit_is_not_taken_for_kept_by_rows_that_nobody_compared(
    total: int, rows: tuple[int, ...], expected: Outcome
) -> None:
    table = Table((Column("orders", ColumnType.NUMBER),), tuple((row,) for row in rows), total)
    assert Condition(above=True, limit=Decimal(5)).outcome([table]) is expected


async def test_an_answer_is_shown_when_its_number_passes_the_limit_and_not_again_while_it_stays_there(
    make_bot: MakeBot, clock: Clock
) -> None:
    figures = Figures(250, "300.0000000000000000001", 400, 299.5, 301, None, None, 500)
    bot = make_bot(*[[Completed((ToolCall("1", "figure", "{}"),))], "So many."] * 8, tool_providers=[figures])
    said = await say(bot, "/schedule when above 300: How many orders are open?")
    assert "every hour, when above 300" in said
    shown = []
    for number in range(8):
        clock.set(f"2026-11-27T{13 + number}:00+01:00")
        before = len(came_by_itself(bot))
        assert await tick(bot) == 1
        shown.append(len(came_by_itself(bot)) - before)
    assert shown == [0, 1, 0, 0, 1, 1, 0, 1]
    assert "no number" in came_by_itself(bot)[2]["text"]
    assert figures.were_scheduled == [True] * 8
    told = [message.content for message in bot.model.requests[-1].messages if "So many." in message.content]
    assert len(told) == 3, "what nobody saw is no part of the conversation"


async def test_another_worker_goes_on_with_a_scheduled_answer_whose_worker_ended(
    make_bot: MakeBot, clock: Clock
) -> None:
    first = make_bot(["It ", asyncio.Event()])
    await say(first, "/schedule every day at 8: Why?")
    clock.set("2026-11-28T08:00+01:00")
    answering = asyncio.create_task(tick(first))
    while not first.model.requests:  # noqa: ASYNC110 - in this loop, in a moment
        await asyncio.sleep(0)
    await first.app.queue.close()
    with pytest.raises(ShuttingDownError):
        await answering
    second = make_bot("It grew.")
    await tick(second)
    (message,) = came_by_itself(second)
    assert message["text"].endswith("It grew.")


async def test_in_a_channel_the_answer_comes_in_the_thread_in_which_it_was_asked_for(
    make_bot: MakeBot, clock: Clock
) -> None:
    bot = make_bot("Because.")
    channel = {"id": "19:x;messageid=77", "conversationType": "channel", "tenantId": "t"}
    mention = {"entities": [{"type": "mention", "mentioned": {"id": "28:bot"}, "text": "<at>Bricks</at>"}]}
    await say(
        bot, "<at>Bricks</at> /schedule every day at 8: Why?", channelId="msteams", conversation=channel, **mention
    )
    clock.set("2026-11-28T08:00+01:00")
    assert await tick(bot) == 1
    (message,) = came_by_itself(bot)
    assert message["conversation"]["id"] == "19:x;messageid=77"


async def test_a_schedule_ends_where_the_channel_no_longer_lets_the_bot_write(make_bot: MakeBot, clock: Clock) -> None:
    bot = make_bot("Because.", "Because.")
    await say(bot, "/schedule every day at 8: Why?")
    bot.connector.rule = lambda _: ConnectorResponse.error(403, "BotDisabledByAdmin", "The admin disabled this bot")
    clock.set("2026-11-28T08:00+01:00")
    assert await tick(bot) == 1
    clock.set("2026-11-29T08:00+01:00")
    assert [await tick(bot) for _ in range(2)] == [0, 0]
    assert len(bot.model.requests) == 1
    assert [page async for page in bot.schedules.store.due()] == []


async def test_in_a_teams_chat_a_scheduled_answer_is_one_message_without_a_stream(
    make_bot: MakeBot, clock: Clock
) -> None:
    bot = make_bot(["Be", "cause."])
    await say(bot, "/schedule every day at 8: Why?", **TEAMS)
    before = len(bot.connector.calls)
    clock.set("2026-11-28T08:00+01:00")
    assert await tick(bot) == 1
    (call,) = bot.connector.calls[before:]
    assert call.is_message
    assert call.stream is None
    assert (call.activity["conversation"]["id"], call.activity["recipient"]["id"]) == ("a:1", "29:ann")


async def test_genies_own_number_decides_whether_the_person_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.genie.looking._FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("app.genie.looking._LONGEST_PAUSE_SECONDS", 0.02)
    async with a_data_chat(tmp_path) as chat:
        for limit in ("above 1,000", "above 1,000,000 billion"):
            await chat.ask(f"/schedule every hour Europe/Berlin when {limit}: What was the revenue in March 1997?")
        (told,) = await chat.comes_by_itself(time.time() + 3600)
        assert told.text.startswith("> every hour, when above 1000: What was the revenue in March 1997?")
        assert told.elements("Table")
