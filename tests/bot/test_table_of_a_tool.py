"""A table that a tool gives, on its way through the whole bot to the person."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from app.bot.inbound.activity import parse_activity
from app.bot.inbound.conversation_key import conversation_of
from app.common.caller import Caller
from app.content.block_json import blocks_from_json
from app.content.blocks import Chart, ChartKind, Column, ColumnType, Image, Point, Series, Table
from app.models.model import ToolCall
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolOutput
from tests.content.test_blocks import PIXEL
from tests.fakes.bots import bots
from tests.fakes.teams_bot import a_teams_bot

ACTIVITIES = Path(__file__).parents[1] / "golden" / "activities"


TABLE = Table((Column("region"), Column("sales", ColumnType.NUMBER)), (("Porto", 4),), total_rows=12)


class NoArguments(ToolArguments):
    pass


class SalesTools:
    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return [Tool("sales", "Sales by region.", NoArguments, self._sales, Effect.READ_ONLY)]

    async def _sales(self, arguments: NoArguments, context: ToolContext) -> ToolOutput:
        return ToolOutput("Porto 4", (TABLE,))


@pytest.mark.parametrize(
    ("file", "text", "cards"),
    [
        ("emoji_only", "Porto leads.", 1),
        (
            "question_in_copilot",
            "Porto leads.\n\n| region | sales |\n| --- | --: |\n| Porto | 4 |\n\nShowing 1 of 12 rows.",
            0,
        ),
    ],
)
async def test_a_table_comes_as_a_card_in_teams_and_as_markdown_in_copilot(
    file: str, text: str, cards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    activity: dict[str, Any] = json.loads((ACTIVITIES / f"{file}.json").read_text(encoding="utf-8"))["activity"]
    replies = [ToolCall("c1", "sales", "{}")], ["Porto leads."]
    async with a_teams_bot(tmp_path, monkeypatch, *replies, tools=[SalesTools()]) as bot:
        await bot.receive(activity)
        message = [call.body for call in bot.teams.calls if call.body["type"] == "message"][-1]
        stored = (await bot.store.recent(conversation_of(parse_activity(json.dumps(activity).encode())), 2))[-1]
    assert message["text"] == text
    attached = message.get("attachments", [])
    assert [card["contentType"] for card in attached] == ["application/vnd.microsoft.card.adaptive"] * cards
    assert [row["cells"][1]["items"][0]["inlines"][0]["text"] for card in attached
            for row in card["content"]["body"][0]["rows"]] == ["sales", "4"] * cards  # fmt: skip
    assert (stored.text, blocks_from_json(stored.blocks)) == ("Porto leads.", (TABLE,))
    assert stored.activity_id == f"a-{len(bot.teams.calls)}"


class PicturedTools:
    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return [Tool("sales", "Sales by region.", NoArguments, self._sales, Effect.READ_ONLY)]

    async def _sales(self, arguments: NoArguments, context: ToolContext) -> ToolOutput:
        image = Image("", "Sales as bars", PIXEL) if context.shows_chart_images else None
        points = (Point("Porto", 4.0), Point("Faro", 1.0))
        return ToolOutput("Porto 4", (Chart(ChartKind.VERTICAL_BAR, (Series("", points),), "Sales", image=image),))


@pytest.mark.parametrize(("channel", "drawn"), [("emulator", "Image"), ("msteams", "Chart.VerticalBar")])
async def test_an_image_of_a_chart_comes_where_charts_are_not_drawn(channel: str, drawn: str, tmp_path: Path) -> None:
    async with bots(tmp_path) as make:
        bot = make([ToolCall("c1", "sales", "{}")], ["Porto leads."], tool_providers=[PicturedTools()])
        await bot.send(bot.activity(channelId=channel))
        (card,) = bot.connector.calls[-1].activity["attachments"]
    assert drawn in [element["type"] for element in card["content"]["body"]]
