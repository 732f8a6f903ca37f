"""A worker that ends, storage that is slow, farewells: through the front door."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from app.storage.failures import StorageFailed
from app.turns.handover import UnreadableMessage
from tests.fakes.bots import Bot, bots

MakeBot = Callable[..., Bot]


@pytest.fixture
async def make_bot(tmp_path: Path) -> Any:
    async with bots(tmp_path) as make:
        yield make


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
    # The runner's shelf is frozen and shared by its desk.
    runner = bot.door.unfinished._runner
    slow = Slow(bot.store, *names)
    object.__setattr__(runner._shelf, "store", slow)
    return slow


async def test_a_worker_that_ends_while_it_takes_a_turn_over_does_not_drop_its_message(make_bot: MakeBot) -> None:
    bot, other = make_bot([asyncio.Event(), "never"], acknowledge_after=0.05), make_bot("again")
    await bot.send(bot.activity())
    (message,) = bot.on_the_queue()
    with closing(sqlite3.connect(bot.file)) as connection:
        connection.execute("DELETE FROM queued")
        connection.execute("UPDATE turn SET lease_until = 0")
        connection.commit()
    slow = slowed(other, "find")
    resuming = asyncio.create_task(other.door.unfinished.resume(message))
    await slow.reached.wait()
    await other.door.unfinished.close()
    await asyncio.wait([resuming])
    dropped = resuming.exception() is None if not resuming.cancelled() else False
    assert not dropped or bot.on_the_queue(), "the host deletes the message, and nobody has the turn"


async def test_a_question_that_was_not_entered_when_the_worker_ended_is_not_acknowledged(make_bot: MakeBot) -> None:
    bot = make_bot("Four.")
    slow = slowed(bot, "begin")
    sending = asyncio.create_task(bot.send(bot.activity()))
    await slow.reached.wait()
    await bot.door.messages.close()
    assert (await sending).status >= 500, "Teams has been told that all is well, and nobody knows of the question"


async def test_feedback_is_answered_in_time_while_storage_stands_still(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make_bot()
    forever = asyncio.Event()

    async def stands_still(_: Any) -> Any:
        await forever.wait()

    monkeypatch.setattr(bot.store, "read", stands_still)
    value = {"actionName": "feedback", "actionValue": {"reaction": "like", "feedback": "{}"}}
    invoke = {**bot.activity(name="message/submitAction", value=value, replyToId="answer-1"), "type": "invoke"}
    async with asyncio.timeout(6):
        assert (await bot.send(invoke)).status == 200


async def test_the_same_words_without_an_id_are_two_questions(make_bot: MakeBot) -> None:
    bot = make_bot("Four.", "Four again.")
    for _ in range(2):
        activity = bot.activity("2 + 2?")
        del activity["id"]
        await bot.send(activity)
    assert bot.messages == ["Four.", "Four again."]


async def test_a_turn_that_another_version_wrote_is_refused_with_a_line_that_says_why(
    make_bot: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    bot = make_bot()
    body = {"v": 1, "tenant": "t", "conversation": "c", "activity": "a", "asked_at": time.time(), "begun": "?"}
    for _ in range(3):
        with suppress(UnreadableMessage):
            await bot.door.unfinished.resume(json.dumps(body).encode())
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert told, "no log line, no error id; and only the first of the host's tries fails, so it never gets to poison"


async def test_a_removal_that_storage_does_not_take_is_not_acknowledged(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = make_bot()

    async def fails(*_: Any, **__: Any) -> None:
        raise StorageFailed("down")

    monkeypatch.setattr(bot.store, "forget", fails)
    assert (await bot.send(bot.activity(type="installationUpdate", action="remove"))).status >= 500
