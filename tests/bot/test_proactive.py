"""Messages that nobody asked for: from the queue to the channel, at its pace, as long as the bot may write there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.bot import proactive_messages as proactive
from app.bot.proactive_messages import ConversationThrottle
from app.content.blocks import Action, Actions, Code, Fact, Facts
from app.local.connector_server import ConnectorResponse
from app.messaging.proactive_sender import NoConversationReferenceError, ProactiveMessage, ProactiveSender
from app.storage.conversations import ConversationKey
from app.turns.queue_message import UnreadableMessageError
from tests.fakes.bots import Bot, MakeBot, bots

CHAT = ConversationKey("t", "msteams/a:1")
IN_TEAMS: dict[str, Any] = {
    "type": "typing",
    "channelId": "msteams",
    "conversation": {"id": "a:1", "conversationType": "personal", "tenantId": "t"},
    "locale": "de-DE",
}
NEWS = ProactiveMessage("news-1", CHAT, "Run 7 has **failed**.")


@pytest.fixture
async def make_bot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeBot]:
    monkeypatch.setattr(proactive, "_SECONDS_BETWEEN_MESSAGES", 0.0)
    async with bots(tmp_path) as make:
        yield make


async def knowing(make_bot: MakeBot, **more: Any) -> tuple[Bot, ProactiveSender]:
    """A bot to which somebody has written before."""
    bot = make_bot()
    await bot.send(bot.activity(**{**IN_TEAMS, **more}))
    await bot.references.flush()
    return bot, bot.app.proactive


async def test_a_message_goes_to_a_conversation_that_wrote_once_by_whichever_worker(make_bot: MakeBot) -> None:
    _, sender = await knowing(make_bot)
    other = make_bot()
    await sender.send(NEWS)
    assert other.messages == [], "it is sent in the background"
    assert await other.handle_queue() == 1

    (call,) = [call for call in other.connector.calls if call.is_message]
    assert call.text == NEWS.text
    sent = call.activity
    assert (sent["conversation"]["id"], sent["from"]["id"], sent["recipient"]["id"]) == ("a:1", "28:bot", "29:ann")
    assert "replyToId" not in sent


async def test_a_message_that_is_sent_or_delivered_twice_stands_there_once(make_bot: MakeBot) -> None:
    bot, sender = await knowing(make_bot)
    await sender.send(NEWS)
    (body,) = bot.on_the_queue()
    await sender.send(NEWS)
    await bot.app.queue.dispatch(body)
    await asyncio.gather(*(make_bot().app.queue.dispatch(body) for body in bot.on_the_queue()))
    assert bot.messages == [NEWS.text]


async def test_blocks_are_shown_as_the_channel_shows_them(make_bot: MakeBot) -> None:
    bot, sender = await knowing(make_bot)
    blocks = (
        Facts((Fact("Run", "7"),)),
        Code("SELECT 1", "sql"),
        Actions((Action("repair", "Repair"),), "proposal-7"),
    )
    await sender.send(ProactiveMessage("news-2", CHAT, "Failed.", blocks))
    await bot.handle_queue()
    sent = bot.connector.calls[-1].activity
    assert sent["text"].startswith("Failed.\n\n")
    assert "SELECT 1" in sent["text"]
    card = sent["attachments"][0]["content"]
    assert card["actions"][0]["data"] == {"action_id": "proposal-7"}


async def test_in_a_channel_it_goes_to_the_thread_it_is_meant_for(make_bot: MakeBot) -> None:
    channel = {"id": "19:x;messageid=77", "conversationType": "channel", "tenantId": "t"}
    bot, sender = await knowing(make_bot, conversation=channel)
    for thread in ("77", ""):
        await sender.send(ProactiveMessage(f"news in {thread}", ConversationKey("t", "msteams/19:x", thread), "News"))
        await bot.handle_queue()
    sent = [call.activity["conversation"]["id"] for call in bot.connector.calls if call.is_message]
    assert sorted(sent) == ["19:x", "19:x;messageid=77"]


@pytest.mark.parametrize(
    "conversation",
    [
        ConversationKey("t", "msteams/a:2"),
        ConversationKey("another tenant", "msteams/a:1"),
        # What one person asked in private must not be told to the group.
        ConversationKey("t", "msteams/a:1", "/only 29:ann"),
    ],
)
async def test_nothing_is_sent_where_the_bot_cannot_write(make_bot: MakeBot, conversation: ConversationKey) -> None:
    bot, sender = await knowing(make_bot)
    with pytest.raises(NoConversationReferenceError):
        await sender.send(ProactiveMessage("news-1", conversation, "News"))
    assert bot.on_the_queue() == []


@pytest.mark.parametrize(
    ("status", "code", "closed"),
    [
        (403, "BotNotInConversationRoster", True),
        (403, "BotDisabledByAdmin", True),
        (403, "MessageWritesBlocked", True),
        (404, "ConversationNotFound", True),
        # A proxy's own refusal has no code.
        (403, "", False),
        (404, "ActivityNotFound", False),
        (400, "BadArgument", False),
    ],
)
async def test_a_conversation_that_is_closed_to_the_bot_loses_its_reference(
    make_bot: MakeBot, status: int, code: str, closed: bool
) -> None:
    bot, sender = await knowing(make_bot)
    await sender.send(NEWS)
    (body,) = bot.on_the_queue()
    refusal = ConnectorResponse.error(status, code, "no") if code else ConnectorResponse(status)
    bot.connector.rule = lambda call: refusal
    if closed:
        await bot.app.queue.dispatch(body)
    else:
        with pytest.raises(Exception, match=f"HTTP {status}"):
            await bot.app.queue.dispatch(body)
    assert (await bot.references.find(CHAT) is None) is closed
    bot.connector.rule = None
    await bot.app.queue.dispatch(body)
    assert len(bot.messages) == (1 if closed else 2), "a failed try counts as a call to the channel"


async def test_what_was_forgotten_meanwhile_is_not_sent(make_bot: MakeBot) -> None:
    bot, sender = await knowing(make_bot)
    await sender.send(NEWS)
    await bot.references.forget(CHAT)
    assert await bot.handle_queue() == 1
    assert bot.messages == []


async def test_a_channel_that_is_busy_gets_the_message_later(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot, sender = await knowing(make_bot)
    put, waits = bot.backend.queue.put, []

    async def noted(body: str, *, visibility_timeout: float) -> Any:
        waits.append(visibility_timeout)
        return await put(body, visibility_timeout=0.0)

    await sender.send(NEWS)
    monkeypatch.setattr(bot.backend.queue, "put", noted)
    busy = ConnectorResponse.error(429, "TooManyRequests", "slow down", **{"Retry-After": "120"})
    bot.connector.rule = lambda call: busy
    await bot.handle_queue()
    assert waits == [120.0]
    bot.connector.rule = None
    assert await bot.handle_queue() == 1
    assert bot.messages[-1] == NEWS.text


async def test_many_messages_for_one_conversation_come_at_its_pace_and_others_do_not_wait() -> None:
    now = 0.0
    throttle = ConversationThrottle(2.0, clock=lambda: now)
    other = ConversationKey("t", "msteams/a:2")
    reserved = [throttle.reserve(CHAT, 5.0) for _ in range(4)]
    assert reserved == [(0.0, True), (2.0, True), (4.0, True), (6.0, False)]
    assert throttle.reserve(CHAT, 5.0) == (6.0, False), "who does not wait takes no place"
    assert throttle.reserve(other, 5.0) == (0.0, True)
    now = 10.0
    assert throttle.reserve(CHAT, 5.0) == (0.0, True)


async def test_a_message_that_has_to_wait_for_long_goes_back_to_the_queue(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proactive, "_SECONDS_BETWEEN_MESSAGES", 60.0)
    bot, sender = await knowing(make_bot)
    for number in range(2):
        await sender.send(ProactiveMessage(f"news-{number}", CHAT, "News"))
    assert await bot.handle_queue() == 2
    assert bot.messages == ["News"]
    assert len(bot.on_the_queue()) == 1


async def test_a_queue_message_of_the_first_version_can_be_read(make_bot: MakeBot) -> None:
    """Messages are on the queue while a version replaces another: change this text only by adding to it."""
    bot, _ = await knowing(make_bot)
    await bot.app.queue.dispatch(
        b'{"v":1,"kind":"proactive_message","traceparent":null,"id":"news-1","tenant":"t",'
        b'"conversation":"msteams/a:1","thread":"","text":"Failed.","blocks":"[]"}'
    )
    assert bot.messages == ["Failed."]


async def test_what_another_version_wrote_is_left_to_it(make_bot: MakeBot) -> None:
    bot = make_bot()
    for body in (b'{"v": 1, "kind": "proactive_message"}', b'{"v": 2, "kind": "proactive_message"}'):
        with pytest.raises(UnreadableMessageError):
            await bot.app.queue.dispatch(body)


async def test_a_message_beyond_what_a_queue_holds_is_refused(make_bot: MakeBot) -> None:
    _, sender = await knowing(make_bot)
    with pytest.raises(ValueError, match="bytes"):
        await sender.send(ProactiveMessage("news-3", CHAT, "x" * 60_000))
