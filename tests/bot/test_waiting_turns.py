"""Who waits for an earlier turn and has lost their worker sees that somebody has taken their question up."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from app.local.connector_server import ConnectorResponse
from tests.fakes.bots import Bot, MakeBot

TEAMS = {"channelId": "msteams", "conversation": {"id": "c1", "conversationType": "personal"}}


async def two_that_wait(bot: Bot, question: str = "And then?", **more: Any) -> tuple[str, bytes]:
    """The id of the second, whose worker is gone, and its message. The first is being answered."""
    first, second = (bot.activity(text, **more) for text in ("Why?", question))
    await bot.send(first)
    await bot.send(second)
    message = next(body for body in bot.on_the_queue() if second["id"].encode() in body)
    with closing(sqlite3.connect(bot.file)) as connection:
        connection.execute("UPDATE turn SET lease_until = 1 WHERE activity_id LIKE ?", (f"{second['id']}%",))
        connection.commit()
    bot.connector.calls.clear()
    return second["id"], message


@pytest.mark.parametrize("more", [{}, TEAMS], ids=["Emulator", "Teams, one to one"])
@pytest.mark.parametrize("question", ["And then?", "ü" * 30_000], ids=["short", "large"])
async def test_a_claimed_turn_that_has_to_wait_shows_typing_and_opens_no_stream(
    make_bot: MakeBot, more: dict[str, Any], question: str
) -> None:
    bot, other = make_bot([asyncio.Event()], acknowledge_after_seconds=0.3), make_bot("never")
    second, message = await two_that_wait(bot, question, **more)
    await other.app.queue.dispatch(message)
    shown = [call for call in bot.connector.calls if call.activity.get("replyToId") == second]
    # Shown again after some seconds, on a machine that takes that long.
    assert {call.activity["type"] for call in shown} == {"typing"}
    assert not any(call.activity.get("entities") for call in shown)
    assert any(second.encode() in body for body in bot.on_the_queue()), "it waits no longer"


async def test_a_turn_waits_on_a_channel_without_typing_too(make_bot: MakeBot) -> None:
    bot, other = make_bot([asyncio.Event()], acknowledge_after_seconds=0.3), make_bot("never")
    second, message = await two_that_wait(bot)
    bot.connector.rule = lambda _: ConnectorResponse.error(403, "Forbidden", "not here")
    await other.app.queue.dispatch(message)
    assert any(second.encode() in body for body in bot.on_the_queue())
