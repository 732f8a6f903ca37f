"""Questions about data in a chat: the whole bot over the stand-in's Genie, whose SQL really runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.data_chat import a_data_chat

# Genie is looked at every second or more.
pytestmark = pytest.mark.slow


async def test_a_question_about_data_shows_progress_a_chart_its_table_its_sql_and_follow_ups(tmp_path: Path) -> None:
    async with a_data_chat(tmp_path) as chat:
        shown = await chat.ask("How did revenue develop by month?")
        assert shown.elements("Chart."), "a chart"
        assert shown.elements("Table"), "its numbers"
        assert any("SELECT" in str(block) for block in shown.elements("CodeBlock")), "its SQL"
        asked = [action for action in shown.elements("Action.Execute") if action["verb"] == "ask"]
        assert asked, "follow-up questions as buttons"
        notes = [each for each in shown.elements("TextBlock") if each.get("isVisible", True)]
        assert any("Powered by Genie" in note["text"] for note in notes)


async def test_as_a_pie_chart_draws_the_stored_result_again_and_asks_genie_nothing(tmp_path: Path) -> None:
    async with a_data_chat(tmp_path) as chat:
        first = await chat.ask("How did revenue develop by month?")
        assert first.elements("Table")
        again = await chat.ask("as a pie chart")
        assert again.elements("Chart.Pie"), again
        assert len(chat.workspace.genie.asked) == 1


async def test_a_question_about_something_else_is_told_as_such(tmp_path: Path) -> None:
    async with a_data_chat(tmp_path) as chat:
        shown = await chat.ask("How many planets are there in total?")
        assert "not about the data" in shown.text
        assert not shown.elements("Table")
        unclear = await chat.ask("Who are our best customers?")
        assert unclear.text == "Best customer by revenue, or by number of orders?"


async def test_forget_deletes_the_conversation_in_genie_too(tmp_path: Path) -> None:
    async with a_data_chat(tmp_path) as chat:
        await chat.ask("How many orders are there by region?")
        await chat.ask("/forget")
        assert len(chat.workspace.genie.deleted) == 1
        again = await chat.ask("as a pie chart")
        assert not again.elements("Chart."), "what is forgotten is not drawn again"
