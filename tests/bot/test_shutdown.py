"""A worker that ends, storage that is slow, farewells: through the endpoint."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest

from app.storage.conversations import ConversationKey
from app.storage.ledger import TurnKey, TurnRecord, TurnState
from app.storage.storage_errors import StorageError
from app.turns.queue_dispatcher import ShuttingDownError
from app.turns.queue_message import UnreadableMessageError
from tests.fakes.bots import Bot, MakeBot


class Slow:
    """A store whose named calls wait for `gate`, and say when they are waited for."""

    def __init__(self, store: Any, *names: str) -> None:
        self._store = store
        self._names = names
        self.gate = asyncio.Event()
        self.reached = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in self._names:
            return method

        async def call(*arguments: Any, **named: Any) -> Any:
            self.reached.set()
            await self.gate.wait()
            return await method(*arguments, **named)

        return call


def slowed(bot: Bot, *names: str) -> Slow:
    slow = Slow(bot.store, *names)
    # The backend is frozen.
    object.__setattr__(bot.backend, "store", slow)
    return slow


async def test_shutdown_during_a_claim_does_not_drop_the_message(make_bot: MakeBot) -> None:
    bot, other = make_bot([asyncio.Event(), "never"], acknowledge_after_seconds=1.0), make_bot("again")
    await bot.send(bot.activity())
    (message,) = bot.on_the_queue()
    with closing(sqlite3.connect(bot.file)) as connection:
        connection.execute("DELETE FROM queue_message")
        connection.execute("UPDATE turn SET lease_until = 0")
        connection.commit()
    slow = slowed(other, "find")
    resuming = asyncio.create_task(other.app.queue.dispatch(message))
    await slow.reached.wait()
    await other.app.queue.close()
    await asyncio.wait([resuming])
    dropped = resuming.exception() is None if not resuming.cancelled() else False
    assert not dropped or bot.on_the_queue(), "the host deletes the message, and nobody has the turn"


async def test_a_question_that_was_not_entered_before_shutdown_is_not_acknowledged(make_bot: MakeBot) -> None:
    bot = make_bot("Four.")
    slow = slowed(bot, "begin")
    sending = asyncio.create_task(bot.send(bot.activity()))
    await slow.reached.wait()
    await bot.app.messages.close()
    assert (await sending).status >= 500, "Teams has been told that all is well, and nobody knows of the question"


async def test_shutdown_while_a_turn_is_requeued_does_not_drop_the_message(make_bot: MakeBot) -> None:
    bot, other = make_bot([asyncio.Event(), "never"], acknowledge_after_seconds=1.0), make_bot()
    await bot.send(bot.activity())
    (message,) = bot.on_the_queue()

    async def fails(_: Any) -> Any:
        raise StorageError("down")

    other.store.find = fails  # type: ignore[method-assign, assignment]
    slow = Slow(other.queue, "put")
    object.__setattr__(other.backend, "queue", slow)
    resuming = asyncio.create_task(other.app.queue.dispatch(message))
    await slow.reached.wait()
    await other.app.queue.close()
    with pytest.raises(ShuttingDownError):
        await resuming


async def test_a_closed_worker_answers_a_question_with_503(make_bot: MakeBot) -> None:
    bot = make_bot("never")
    await bot.app.messages.close()
    await bot.store.close()
    assert (await bot.send(bot.activity())).status == 503
    assert bot.messages == [], "the person was told to ask again, though another worker would have answered"


async def test_shutdown_when_a_message_is_just_delivered_does_not_drop_it(
    make_bot: MakeBot,
) -> None:
    bot, other = make_bot([asyncio.Event(), "never"], acknowledge_after_seconds=1.0), make_bot("never")
    await bot.send(bot.activity())
    (message,) = bot.on_the_queue()
    resuming = asyncio.create_task(other.app.queue.dispatch(message))
    closing_down = asyncio.create_task(other.app.queue.close())
    with pytest.raises(ShuttingDownError):
        await resuming
    await closing_down


async def test_a_person_is_told_once_to_ask_again(make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch) -> None:
    bot = make_bot(acknowledge_after_seconds=1.0)
    post = bot.app.connector.send
    told = asyncio.Event()

    async def fails(*_: Any, **__: Any) -> Any:
        raise StorageError("down")

    async def slowly(*arguments: Any, **named: Any) -> Any:
        await told.wait()
        return await post(*arguments, **named)

    monkeypatch.setattr(bot.store, "begin", fails)
    monkeypatch.setattr(bot.app.connector, "send", slowly)
    assert (await bot.send(bot.activity())).status == 202, "Teams repeats it, and each repeat tells the person again"
    told.set()
    await bot.connector.next_message()


async def test_a_closed_worker_claims_no_turn(make_bot: MakeBot) -> None:
    bot, other = make_bot([asyncio.Event(), "never"], acknowledge_after_seconds=1.0), make_bot("never")
    await bot.send(bot.activity())
    (message,) = bot.on_the_queue()
    await other.app.queue.close()
    with pytest.raises(ShuttingDownError):
        await other.app.queue.dispatch(message)


def _feedback(bot: Bot) -> dict[str, Any]:
    value = {"actionName": "feedback", "actionValue": {"reaction": "like", "feedback": "{}"}}
    return {**bot.activity(name="message/submitAction", value=value, replyToId="answer-1"), "type": "invoke"}


async def test_feedback_that_could_not_be_counted_in_time_is_not_acknowledged(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make_bot()
    forever = asyncio.Event()

    async def stands_still(_: Any) -> Any:
        await forever.wait()

    monkeypatch.setattr(bot.documents, "get", stands_still)
    async with asyncio.timeout(5):
        answer = await bot.send(_feedback(bot))
    assert answer.status == 503, "Teams does not tell it again, and it never counts"
    assert answer.body


async def test_feedback_counts_when_it_is_redelivered_after_storage_failed(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app")
    bot = make_bot()

    async def fails(_: Any) -> Any:
        raise StorageError("down")

    with monkeypatch.context() as down:
        down.setattr(bot.documents, "get", fails)
        assert (await bot.send(_feedback(bot))).status == 503
    assert (await bot.send(_feedback(bot))).status == 200
    assert [record.message for record in caplog.records].count("Feedback: like") == 1


async def test_a_question_that_is_not_in_the_ledger_in_time_is_not_acknowledged_but_is_answered(
    make_bot: MakeBot,
) -> None:
    bot = make_bot("Four.", acknowledge_after_seconds=0.05)
    slow = slowed(bot, "begin")
    assert (await bot.send(bot.activity())).status == 503, "if the worker crashes now, nobody has the question"
    slow.gate.set()
    assert (await bot.connector.next_message()).activity["text"] == "Four."


async def test_the_time_to_acknowledge_runs_from_receipt(make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch) -> None:
    bot, loop = make_bot([asyncio.Event(), "never"]), asyncio.get_running_loop()
    authenticate, clock = bot.app.adapter.authenticate, loop.time

    async def slowly(*arguments: Any) -> Any:
        monkeypatch.setattr(loop, "time", lambda: clock() + 10)
        return await authenticate(*arguments)

    monkeypatch.setattr(bot.app.adapter, "authenticate", slowly)
    began = clock()
    assert (await bot.send(bot.activity())).status == 202
    assert clock() - began < 6, "10 s for the keys and 12 s more: Teams has given up and repeats it"


async def test_the_same_words_without_an_id_are_two_questions(make_bot: MakeBot) -> None:
    bot = make_bot("Four.", "Four again.")
    for _ in range(2):
        activity = bot.activity("2 + 2?")
        del activity["id"]
        await bot.send(activity)
    assert bot.messages == ["Four.", "Four again."]


@pytest.mark.parametrize("in_the_ledger", [False, True])
async def test_a_turn_of_an_unreadable_version_stays_one_message_and_its_row_stays_open(
    make_bot: MakeBot, caplog: pytest.LogCaptureFixture, in_the_ledger: bool
) -> None:
    bot = make_bot()
    await bot.store.ping()
    key = TurnKey(ConversationKey("t", "c"), "a")
    if in_the_ledger:
        await bot.store.begin(TurnRecord(key, 0, TurnState.STARTED, "gone", 1.0, payload="?"), history_limit=1)
    body = {"v": 1, "tenant": "t", "conversation": "c", "activity": "a", "asked_at": time.time()}
    message = json.dumps(body if in_the_ledger else {**body, "payload": "?"}).encode()
    for _ in range(5):
        with pytest.raises(UnreadableMessageError):
            await bot.app.queue.dispatch(message)
    assert bot.on_the_queue() == [], "one message became several, and each of them becomes several more"
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 5
    if in_the_ledger:
        record = await bot.store.find(key)
        assert record is not None
        assert (record.state, record.attempt_count, record.payload) == (TurnState.STARTED, 1, "?")


async def test_a_removal_that_storage_does_not_take_is_not_acknowledged(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make_bot()

    async def fails(*_: Any, **__: Any) -> None:
        raise StorageError("down")

    monkeypatch.setattr(bot.store, "forget", fails)
    assert (await bot.send(bot.activity(type="installationUpdate", action="remove"))).status >= 500
