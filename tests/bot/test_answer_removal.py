"""`/remove`: the bot deletes the message of its last answer, and what it remembers of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from app.agent.turn import Turn
from app.content.blocks import Actions
from app.local.connector_server import ConnectorCall, ConnectorResponse
from app.messaging.result_files import file_button
from app.models.model import Completed, ToolCall
from app.storage.conversations import ConversationKey
from app.tools.base import Effect, Tool, ToolArguments, ToolContext, ToolOutput
from app.turns.answer_removal import AnswerRemoval
from tests.fakes.bots import Bot, MakeBot
from tests.fakes.tools import StaticTools

CHAT = ConversationKey("", "emulator/c1")
OTHER: dict[str, Any] = {"conversation": {"id": "c2"}}


async def say(bot: Bot, text: str, **more: Any) -> str:
    await bot.send(bot.activity(text, **more))
    return bot.messages[-1]


async def answers(bot: Bot) -> list[str]:
    return [said.activity_id for said in await bot.store.recent(CHAT, 10) if said.role == "assistant"]


def deleted(bot: Bot) -> list[tuple[str, str | None]]:
    return [(call.conversation_id, call.activity_id) for call in bot.connector.calls if call.method == "DELETE"]


async def test_answers_are_deleted_from_the_last_on_and_the_model_is_not_told_of_them(make_bot: MakeBot) -> None:
    bot = make_bot("First.", "Elsewhere.", "Third.", "Fourth.")
    await say(bot, "One?")
    await say(bot, "Two?", **OTHER)
    await say(bot, "Three?")
    first, third = await answers(bot)
    assert "deleted my last answer" in await say(bot, "/remove")
    assert await answers(bot) == [first]
    await bot.handle_queue()
    assert deleted(bot) == [("c1", third)]

    await say(bot, "Four?")
    told = [message.content for message in bot.model.requests[-1].messages]
    assert told[1:] == ["One?", "First.", "Four?"]
    for _ in range(2):
        await say(bot, "/remove")
    assert "no answer of mine" in await say(bot, "/remove")
    assert await bot.handle_queue() == 2
    assert len(set(deleted(bot))) == 3


class NoArguments(ToolArguments):
    pass


async def test_the_results_that_no_other_answer_shows_are_deleted_with_the_last_one(make_bot: MakeBot) -> None:
    shown, removed = [["r1"], ["r1", "r2"]], list[str]()

    async def show(_: NoArguments, __: ToolContext) -> ToolOutput:
        buttons = [file_button("As a CSV file", result) for result in shown.pop(0)]
        return ToolOutput("shown", tuple(Actions((button,)) for button in buttons))

    async def remove_results(key: ConversationKey, results: Sequence[str]) -> None:
        removed.extend(results)

    tool = Tool("show", "Shows.", NoArguments, show, Effect.READ_ONLY)
    call = [Completed((ToolCall("1", "show", "{}"),))]
    bot = make_bot(call, "First.", call, "Second.", tool_providers=[StaticTools([tool])])
    await say(bot, "One?")
    await say(bot, "As a pie chart")
    turn, services = Turn("t1", CHAT, "/remove"), (bot.store, bot.queue, bot.references, bot.documents)
    for _ in range(2):
        await AnswerRemoval(*services, remove_results).remove_last(turn)
    assert removed == ["r2", "r2"], "each attempt deletes the same"


async def test_a_turn_that_is_attempted_again_removes_no_second_answer(make_bot: MakeBot) -> None:
    bot = make_bot("First.", "Second.")
    await say(bot, "One?")
    await say(bot, "Two?")
    turn = Turn("t1", CHAT, "/remove")
    for _ in range(2):
        await AnswerRemoval(bot.store, bot.queue, bot.references, bot.documents).remove_last(turn)
    assert len(await answers(bot)) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(404, "ActivityNotFoundInConversation"), (403, "ServiceError"), (404, "ConversationNotFound")]
)
async def test_a_message_that_is_gone_already_is_no_failure(make_bot: MakeBot, status: int, code: str) -> None:
    bot = make_bot("First.", "Second.")
    await say(bot, "One?")

    def refuse(call: ConnectorCall) -> ConnectorResponse | None:
        return ConnectorResponse.error(status, code, "Unknown") if call.method == "DELETE" else None

    bot.connector.rule = refuse
    await say(bot, "/remove")
    assert await bot.handle_queue() == 1
    assert len(deleted(bot)) == 1
    assert "Second." in await say(bot, "Two?"), "the bot can still write"


async def test_where_the_bot_cannot_delete_it_says_so(make_bot: MakeBot) -> None:
    bot = make_bot("First.")
    in_copilot = {"channelId": "msteams", "channelData": {"productContext": "COPILOT"}}
    await bot.send(bot.activity("One?", **in_copilot))
    await bot.send(bot.activity("/remove", **in_copilot))
    assert "cannot delete messages here" in bot.connector.calls[-1].text
    assert bot.on_the_queue() == []
