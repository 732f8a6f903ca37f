"""What Teams says twice is done once, and what a person deletes is gone: through the endpoint."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.agent.commands import FORGOTTEN
from app.bot.handler import WELCOME
from app.bot.inbound.activity import parse_activity
from app.bot.inbound.inbound_question import turn_id_of
from app.storage.conversations import ConversationKey
from app.storage.ledger import TurnKey
from app.turns.queue_message import UnreadableMessageError
from tests.fakes.bots import Bot, MakeBot

C1 = ConversationKey("", "emulator/c1")


async def test_a_repeat_that_reaches_another_worker_does_nothing(make_bot: MakeBot) -> None:
    first, second = make_bot("once"), make_bot("twice")
    activity = first.activity()
    await first.send(activity)
    assert (await second.send(activity)).status == 200
    assert first.messages == ["once"]
    assert len(await first.store.recent(C1, 9)) == 2


async def test_an_edited_message_is_a_new_question_and_its_repeat_is_none(make_bot: MakeBot) -> None:
    bot = make_bot("Four.", "Six.", "Four again.")
    asked = bot.activity("2 + 2?")
    edited = {**asked, "type": "messageUpdate", "text": "3 + 3?", "timestamp": "2026-11-21T10:00:00Z"}
    back = {**edited, "text": "2 + 2?", "timestamp": "2026-11-21T10:01:00Z"}
    for activity in (asked, edited, edited, asked, back, back):
        await bot.send(activity)
    assert bot.messages == ["Four.", "Six.", "Four again."]


async def test_a_question_has_the_place_of_its_timestamp_and_a_repeat_does_not_change_it(
    make_bot: MakeBot,
) -> None:
    asked_at = datetime.now(UTC) - timedelta(seconds=30)
    bot, other = make_bot("once"), make_bot("twice")
    activity = bot.activity(timestamp=asked_at.isoformat())
    await bot.send(activity)
    await other.send({**activity, "timestamp": (asked_at + timedelta(seconds=15)).isoformat()})
    key = TurnKey(C1, turn_id_of(parse_activity(json.dumps(activity).encode())))
    found = await bot.store.find(key)
    assert found is not None
    assert found.ticket == round(asked_at.timestamp() * 1000)


async def test_a_deleted_message_that_is_restored_is_not_answered_again(make_bot: MakeBot) -> None:
    bot = make_bot("once")
    await bot.send({**bot.activity(), "type": "messageUpdate", "channelData": {"eventType": "undeleteMessage"}})
    assert bot.messages == []


async def test_feedback_repeated_under_another_id_counts_once(
    make_bot: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app")
    bot, other = make_bot(), make_bot()

    async def tell(worker: Bot, reaction: str) -> str:
        value = {"actionName": "feedback", "actionValue": {"reaction": reaction, "feedback": "{}"}}
        invoke = bot.activity(name="message/submitAction", value=value, replyToId="answer-1")
        answer = await worker.send({**invoke, "type": "invoke"})
        assert answer.status == 200
        return answer.body

    bodies = [await tell(worker, "like") for worker in (bot, other, bot, other)]
    assert bodies == ["{}"] * 4
    await tell(other, "dislike")
    told = [record.message for record in caplog.records if record.message.startswith("Feedback")]
    assert told == ["Feedback: like", "Feedback: dislike"]


async def test_a_repeated_conversation_update_causes_one_welcome(make_bot: MakeBot) -> None:
    bot, other = make_bot(), make_bot()
    added: dict[str, Any] = {"type": "conversationUpdate", "membersAdded": [{"id": "28:bot"}]}
    activity = bot.activity(**added)
    for worker in (bot, other, bot):
        await worker.send(activity)
    assert bot.messages == [WELCOME.english]


async def test_forget_deletes_what_was_said_here_and_nothing_else(make_bot: MakeBot) -> None:
    bot = make_bot("one", "two")
    await bot.send(bot.activity("here"))
    await bot.send(bot.activity("there", conversation={"id": "c2"}))
    await bot.send(bot.activity("/forget"))
    assert bot.messages[-1] == FORGOTTEN.english
    assert await bot.store.recent(C1, 9) == []
    assert len(await bot.store.recent(ConversationKey("", "emulator/c2"), 9)) == 2


@pytest.mark.parametrize(
    "farewell",
    [
        {"type": "installationUpdate", "action": "remove"},
        {"type": "conversationUpdate", "membersRemoved": [{"id": "28:bot"}]},
    ],
)
async def test_removal_of_the_app_deletes_the_conversation_with_its_threads(
    make_bot: MakeBot, farewell: dict[str, Any]
) -> None:
    bot = make_bot("one", "two")
    await bot.send(bot.activity("here"))
    await bot.send(bot.activity("in a thread", conversation={"id": "c1;messageid=77"}))
    thread = ConversationKey("", "emulator/c1", "77")
    assert len(await bot.store.recent(thread, 9)) == 2
    await bot.send(bot.activity(**farewell))
    assert await bot.store.recent(C1, 9) == await bot.store.recent(thread, 9) == []


@pytest.mark.parametrize(
    "event",
    [
        {"type": "installationUpdate", "action": "remove-upgrade"},
        {"type": "installationUpdate", "action": "add"},
        {"type": "conversationUpdate", "membersRemoved": [{"id": "29:bob"}]},
    ],
)
async def test_an_upgrade_or_a_person_who_leaves_deletes_nothing(make_bot: MakeBot, event: dict[str, Any]) -> None:
    bot = make_bot("one")
    await bot.send(bot.activity("here"))
    await bot.send(bot.activity(**event))
    assert len(await bot.store.recent(C1, 9)) == 2


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"not JSON, and somebody's secret", "json_invalid"),
        (b'{"v": 2, "kind": "turn", "tenant": "t"}', "v: literal_error"),
        (b'{"v": 1, "tenant": "t", "conversation": "c", "activity": "a", "asked_at": 1e9}', "kind: missing"),
        (b'{"v": 1, "kind": "joke"}', "kind: unknown"),
        (b'{"v": 1, "kind": "turn", "tenant": "t", "conversation": "c", "activity": "a"}', "asked_at: missing"),
        (b"", "json_invalid"),
        (b"[]", "model_"),
        (b'{"v": 1, "kind": "turn", "tenant": "t", "conversation": "c", "activity": "a", "asked_at": 1e9}', None),
    ],
)
async def test_an_unreadable_queue_message_is_refused_and_logged_with_the_reason(
    make_bot: MakeBot, caplog: pytest.LogCaptureFixture, body: bytes, why: str | None
) -> None:
    bot = make_bot()
    if why is None:
        # So old that nobody knows of it any more.
        await bot.app.queue.dispatch(body)
        assert "older than the ledger" in caplog.text
    else:
        with pytest.raises(UnreadableMessageError):
            await bot.app.queue.dispatch(body)
        assert why in caplog.text
    assert "secret" not in caplog.text
    assert bot.messages == []


async def test_the_queue_message_of_a_closed_turn_is_dropped(
    make_bot: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app")
    bot, other = make_bot([gate := asyncio.Event(), "once"], acknowledge_after_seconds=1.0), make_bot()
    await bot.send(bot.activity())
    (message,) = bot.on_the_queue()
    gate.set()
    await bot.connector.next_message()
    await bot.app.close()
    await other.app.queue.dispatch(message)
    assert "closed already" in caplog.text
    assert bot.messages == ["once"]
    assert bot.on_the_queue() == []


async def test_a_turn_that_another_worker_holds_is_requeued(make_bot: MakeBot) -> None:
    gate = asyncio.Event()
    bot, other = make_bot([gate, "once"], acknowledge_after_seconds=1.0), make_bot("twice")
    await bot.send(bot.activity())
    (message,) = bot.on_the_queue()
    await other.app.queue.dispatch(message)
    assert len(bot.on_the_queue()) == 2, "what was taken from the queue is back on it"
    gate.set()
    assert (await bot.connector.next_message()).text == "once"
    assert other.model.requests == []


async def test_a_question_received_during_shutdown_is_not_acknowledged_and_its_repeat_is_answered_once(
    make_bot: MakeBot,
) -> None:
    bot, other = make_bot([asyncio.Event()]), make_bot("once")
    activity = bot.activity()
    asking = asyncio.create_task(bot.send(activity))
    await asyncio.sleep(0)
    await bot.app.messages.close()
    assert (await asking).status == 503
    await other.send(activity)
    for message in await bot.queue.receive(9, visibility_timeout=60):
        await other.app.queue.dispatch(message.body.encode())
    assert bot.messages == ["once"]
