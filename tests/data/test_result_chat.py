"""The buttons below a result, through the whole bot over the stand-in workspace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.fakes.data_chat import Shown, a_data_chat


def button(shown: Shown, title: str) -> Mapping[str, Any]:
    (found,) = [action for action in shown.elements("Action.Execute") if action["title"] == title]
    return found


def rows(shown: Shown) -> list[str]:
    """The first cell of each row of the table, without the header."""
    *_, table = [one for card in shown.cards for one in card.get("body", ()) if one["type"] == "Table"]
    return [row["cells"][0]["items"][0]["inlines"][0]["text"] for row in table["rows"][1:]]


async def test_the_buttons_of_a_result_show_its_next_rows_run_it_again_and_offer_a_file(tmp_path: Path) -> None:
    async with a_data_chat(tmp_path) as chat:
        first = await chat.ask("How did revenue develop by month?")
        executed = len(chat.workspace.warehouse.executed)

        following = await chat.press(button(first, "Next rows"))
        months = rows(first) + rows(following)
        assert months == sorted(set(months)), "none twice and none left out"
        (note,) = [each["text"] for each in following.elements("TextBlock") if each["text"].startswith("Rows ")]
        assert note.startswith(f"Rows {len(rows(first)) + 1} to {len(months)} of ")
        assert len(chat.workspace.warehouse.executed) == executed, "they were kept"

        again = await chat.press(button(first, "Run again"))
        assert "as of 20" in again.text
        assert rows(again)[:5] == rows(first)[:5]
        assert len(chat.workspace.warehouse.executed) == executed + 1
        assert len(chat.workspace.genie.asked) == 1

        (consent,) = (await chat.press(button(first, "As a CSV file"))).cards
        assert consent["sizeInBytes"] > 1_000
        await chat.ask("/forget")
        gone = await chat.press(button(first, "Next rows"))
        assert "no longer kept" in gone.text
