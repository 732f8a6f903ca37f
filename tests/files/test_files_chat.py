"""An attached file through the whole bot, where nothing else has data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.data_chat import a_data_chat
from tests.files.test_conversation_files import share_point

pytestmark = pytest.mark.slow

SALES = b"\xef\xbb\xbfregion;month;revenue\nPorto;2024-01-01;1.234,50\nLyon;2024-01-01;=1+1\nPorto;2024-02-01;12\n"


async def test_a_file_is_asked_about_drawn_again_and_forgotten(tmp_path: Path) -> None:
    async with share_point() as point, a_data_chat(tmp_path, GENIE_SPACES="", SQL_WAREHOUSE_ID="") as chat:
        point.files["sales"] = SALES
        first = await chat.attach("What is in it?", "sales.csv", f"{point.url}/sales")
        (table,) = [each for each in first.elements("Table") if each["type"] == "Table"]
        assert len(table["rows"]) == 4
        assert "=1+1" in str(table), "a formula is shown as what it is"

        asked = "SELECT month, count(*) AS orders FROM sales GROUP BY month ORDER BY month"
        counted = await chat.ask(asked)
        assert counted.elements("Chart.")
        assert asked in str(counted.elements("CodeBlock"))
        assert (await chat.ask("as a pie chart")).elements("Chart.Pie")
        assert "Reading the files" in (await chat.ask("/tools")).text

        (again,) = [each for each in counted.elements("Action.Execute") if each["title"] == "Run again"]
        assert (await chat.press(again)).elements("Table")

        await chat.ask("/forget")
        assert "Reading the files" not in (await chat.ask("/tools")).text
        assert len(point.requests) == 1


async def test_files_in_a_group_are_named_as_read_one_to_one(tmp_path: Path) -> None:
    async with a_data_chat(tmp_path, GENIE_SPACES="", SQL_WAREHOUSE_ID="") as chat:
        group = {"conversation": {"id": "19:g@thread.v2", "conversationType": "groupChat"}}
        mention = {"type": "mention", "text": "<at>Bricks</at>", "mentioned": {"id": "28:bot", "name": "Bricks"}}
        shown = await chat.attach("<at>Bricks</at>", "a.csv", "http://127.0.0.1:9/a", entities=[mention], **group)
        assert shown.text.strip() == "> I read files in one-to-one chats in Teams alone, so I have not read: `a.csv`"
