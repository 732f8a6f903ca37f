"""A tool that changes something: asked about with buttons, done once after the press. Through the endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.agent import tool_steps
from app.models.model import Completed, ToolCall
from app.tools.base import Effect, Tool, ToolArguments, ToolContext, ToolOutput
from tests.fakes.bots import Bot, MakeBot
from tests.fakes.tools import StaticTools


class Run(ToolArguments):
    run_id: int


class Repairs:
    def __init__(self) -> None:
        self.repaired: list[int] = []

    async def repair(self, run: Run, context: ToolContext) -> ToolOutput:
        self.repaired.append(run.run_id)
        return ToolOutput("repaired")

    @property
    def provider(self) -> StaticTools:
        return StaticTools([Tool("repair", "Repairs a run.", Run, self.repair, Effect.NEEDS_APPROVAL)])


def cards(content: Any) -> Iterator[dict[str, Any]]:
    for attachment in content.get("attachments") or ():
        yield attachment["content"]


def buttons(bot: Bot) -> dict[str, dict[str, Any]]:
    """Those of the last card that was sent, by their titles."""
    *_, card = [card for call in bot.connector.calls for card in cards(call.activity) if card.get("actions")]
    return {action["title"]: action for action in card["actions"]}


async def press(bot: Bot, button: dict[str, Any], person: str = "Ann", **fields: Any) -> str:
    """What the person who presses sees, as text."""
    action = {"type": "Action.Execute", "verb": button["verb"], "data": button["data"]}
    sender = {"id": f"29:{person}", "name": person}
    more = {"channelId": "msteams", "name": "adaptiveCard/action", "from": sender, **fields}
    invoke = {**bot.activity("", **more), "type": "invoke", "value": {"action": action, "trigger": "manual"}}
    answer = await bot.send(invoke)
    assert answer.status == 200
    return json.dumps(json.loads(answer.body)["value"])


async def until_the_queue_is_empty(bot: Bot) -> None:
    while await bot.handle_queue():
        pass


@pytest.mark.parametrize(
    ("pressed", "other", "seen", "repaired"),
    [("Approve", "Reject", "Approved by", [42]), ("Reject", "Approve", "Rejected by", [])],
)
async def test_a_tool_call_is_made_once_after_a_person_has_approved_it(
    pressed: str, other: str, seen: str, repaired: list[int], make_bot: MakeBot
) -> None:
    repairs = Repairs()
    call = ToolCall("1", "repair", '{"run_id": 42}')
    bot = make_bot(["Run 42 failed.", Completed((call,))], "That is all.", tool_providers=[repairs.provider])
    assert (await bot.send(bot.activity("Repair run 42", channelId="msteams"))).status == 200
    offered = buttons(bot)
    assert repairs.repaired == []
    assert "Run 42 failed." in bot.messages[-1]

    first = await press(bot, offered[pressed])
    assert seen in first
    assert await press(bot, offered[other], "Bob") == first, "the first decision stands"
    await until_the_queue_is_empty(bot)

    assert repairs.repaired == repaired
    assert bot.messages[-1] == "That is all."
    assert len(bot.model.requests) == 2


async def test_a_press_in_another_conversation_decides_nothing(make_bot: MakeBot) -> None:
    repairs = Repairs()
    call = ToolCall("1", "repair", '{"run_id": 42}')
    bot = make_bot(["Run 42 failed.", Completed((call,))], "That is all.", tool_providers=[repairs.provider])
    await bot.send(bot.activity("Repair run 42", channelId="msteams"))
    button = buttons(bot)["Approve"]
    assert "Nothing waits" in await press(bot, button, conversation={"id": "c2"})
    await until_the_queue_is_empty(bot)
    assert repairs.repaired == []
    assert "Approved by" in await press(bot, button)
    await until_the_queue_is_empty(bot)
    assert repairs.repaired == [42]


async def test_a_press_whose_data_was_changed_approves_no_other_call(make_bot: MakeBot) -> None:
    repairs = Repairs()
    call = ToolCall("1", "repair", '{"run_id": 42}')
    bot = make_bot(["Run 42 failed.", Completed((call,))], "That is all.", tool_providers=[repairs.provider])
    await bot.send(bot.activity("Repair run 42", channelId="msteams"))
    button = buttons(bot)["Approve"]
    changed = {**button["data"], "waiting_for": button["data"]["waiting_for"] + "1"}
    assert "Nothing waits" in await press(bot, {**button, "data": changed})
    assert await bot.handle_queue() == 0
    assert repairs.repaired == []


async def test_a_press_that_comes_too_late_is_refused_in_words(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    repairs = Repairs()
    call = ToolCall("1", "repair", '{"run_id": 42}')
    monkeypatch.setattr(tool_steps, "APPROVAL_SECONDS", -1)
    bot = make_bot(["Run 42 failed.", Completed((call,))], "That is all.", tool_providers=[repairs.provider])
    await bot.send(bot.activity("Repair run 42", channelId="msteams"))
    assert "expired" in await press(bot, buttons(bot)["Approve"])
    assert await bot.handle_queue() == 0
    assert repairs.repaired == []
