"""Buttons that call a tool: a turn without the model, with a turn's guarantees. Through the endpoint."""

from __future__ import annotations

import asyncio
import json

import pytest

from app.content.blocks import Column, Table
from app.messaging.actions import call_button
from app.models.model import Completed, ToolCall
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolError, ToolOutput
from app.turns.queue_dispatcher import ShuttingDownError
from tests.bot.test_approvals import buttons, press
from tests.fakes.bots import Bot, MakeBot
from tests.fakes.tools import StaticTools

TABLE = Table((Column("region"),), (("Porto",),))


class Page(ToolArguments):
    result: str
    start: int = 0


class Pages:
    """The tool `next_rows`, for buttons alone."""

    def __init__(self, effect: Effect = Effect.READ_ONLY, *, offered: bool = False) -> None:
        self.called: list[tuple[str, int, str]] = []
        self.keys: set[str] = set()
        self.reached, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self._effect = effect
        self._offered = offered

    async def run(self, page: Page, context: ToolContext) -> ToolOutput:
        self.called.append((page.result, page.start, context.caller.name))
        self.keys.add(context.idempotency_key)
        self.reached.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return ToolOutput("for the model", (TABLE,), sentence="Rows from 20 on.")

    @property
    def provider(self) -> StaticTools:
        tool: AnyTool = Tool("next_rows", "Shows rows.", Page, self.run, self._effect, offered=self._offered)
        return StaticTools([tool])


BUTTON = call_button("Next rows", "next_rows", {"result": "r1", "start": "20"})


async def pressed(bot: Bot, arguments: dict[str, str] | None = None) -> str:
    return await press(bot, {"verb": BUTTON.verb, "data": {**BUTTON.data, **(arguments or {})}})


async def test_a_press_calls_the_tool_once_and_asks_no_model(make_bot: MakeBot) -> None:
    pages = Pages()
    bot = make_bot(tool_providers=[pages.provider])
    assert "looking into it" in await pressed(bot)
    assert pages.called == [], "the press was answered first"
    (message,) = bot.on_the_queue()
    for _ in range(2):
        await bot.app.queue.dispatch(message)
    assert pages.called == [("r1", 20, "Ann")]
    assert bot.model.requests == []
    assert bot.messages == ["Rows from 20 on."]
    (call,) = [call for call in bot.connector.calls if call.is_message]
    assert "Porto" in json.dumps(call.activity["attachments"])
    assert "entities" not in call.activity, "nothing of it is by a model"


@pytest.mark.parametrize(
    ("error", "arguments", "sentence"),
    [
        (ToolError("for the model", sentence="The result is gone."), {}, "The result is gone."),
        (ToolError("for the model"), {}, "This did not work."),
        (RuntimeError("secret detail"), {}, "This did not work."),
        (None, {"start": "many"}, "This did not work."),
        (None, {"tool": "other"}, "This did not work."),
    ],
)
async def test_what_fails_is_one_sentence_with_an_error_id(
    error: Exception | None, arguments: dict[str, str], sentence: str, make_bot: MakeBot
) -> None:
    pages = Pages()
    pages.error = error
    bot = make_bot(tool_providers=[pages.provider])
    await pressed(bot, arguments)
    await bot.handle_queue()
    (message,) = bot.messages
    assert sentence in message
    assert "rror id" in message
    assert "for the model" not in message
    assert "secret" not in message


async def test_a_press_that_was_changed_calls_no_tool_of_the_model(make_bot: MakeBot) -> None:
    pages = Pages(offered=True)
    bot = make_bot(tool_providers=[pages.provider])
    await pressed(bot)
    await bot.handle_queue()
    assert pages.called == []
    assert "This did not work." in bot.messages[0]


async def test_the_model_neither_knows_nor_calls_a_tool_for_buttons(make_bot: MakeBot) -> None:
    pages = Pages()
    call = ToolCall("1", "next_rows", '{"result": "r1"}')
    bot = make_bot([Completed((call,))], "So be it.", tool_providers=[pages.provider])
    await bot.send(bot.activity())
    assert [request.tools for request in bot.model.requests] == [(), ()]
    assert pages.called == []
    await bot.send(bot.activity("/tools"))
    assert "next" not in bot.messages[-1]


async def test_a_tool_that_changes_something_asks_whoever_pressed_first(make_bot: MakeBot) -> None:
    pages = Pages(Effect.NEEDS_APPROVAL)
    bot = make_bot(tool_providers=[pages.provider])
    await pressed(bot)
    await bot.handle_queue()
    assert pages.called == []
    await press(bot, buttons(bot)["Approve"], "Bob")
    while await bot.handle_queue():
        pass
    assert pages.called == [("r1", 20, "Ann")]
    assert bot.messages[-1] == "Rows from 20 on."
    assert bot.model.requests == []


async def test_another_worker_makes_the_same_call_where_the_first_one_ends(make_bot: MakeBot) -> None:
    pages = Pages()
    pages.gate.clear()
    bot, other = make_bot(tool_providers=[pages.provider]), make_bot(tool_providers=[pages.provider])
    await pressed(bot)
    (message,) = bot.on_the_queue()
    pressing = asyncio.create_task(bot.app.queue.dispatch(message))
    await pages.reached.wait()
    await bot.app.queue.close()
    with pytest.raises(ShuttingDownError):
        await pressing
    pages.gate.set()
    while taken := await other.queue.receive(32, visibility_timeout=60):
        for each in taken:
            await other.app.queue.dispatch(each.body.encode())
    assert [shown for shown in bot.messages if shown] == ["Rows from 20 on."]
    assert len(pages.keys) == 1, "a tool knows by its idempotency key that it is the same call"
    assert bot.model.requests == other.model.requests == []


async def test_forget_and_history_know_nothing_of_a_press(make_bot: MakeBot) -> None:
    bot = make_bot("Four.", tool_providers=[Pages().provider])
    await pressed(bot)
    await bot.handle_queue()
    await bot.send(bot.activity("What is 2 + 2?", channelId="msteams"))
    (request,) = bot.model.requests
    assert [message.content for message in request.messages if message.role != "system"] == ["What is 2 + 2?"]
