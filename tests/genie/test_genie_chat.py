"""Questions about data in a chat: the whole bot over the stand-in's Genie, whose SQL really runs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from app.local.genie_plans import USUAL
from tests.fakes.data_chat import a_data_chat


async def test_a_question_about_data_shows_progress_a_chart_its_table_its_sql_and_follow_ups(tmp_path: Path) -> None:
    async with a_data_chat(tmp_path) as chat:
        chat.workspace.genie.plans.append(replace(USUAL, held_in="ASKING_AI"))
        asking = asyncio.create_task(chat.ask("How did revenue develop by month?"))
        await chat.shows("Writing SQL…")
        chat.workspace.genie.release("ASKING_AI")
        shown = await asking
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


async def test_thumbs_on_an_answer_of_genie_reach_its_message_and_are_taken_back_there(tmp_path: Path) -> None:
    async with a_data_chat(tmp_path) as chat:
        await chat.ask("How many orders are there by region?")
        thanks = await chat.rate("dislike", "Wrong year.")
        assert chat.workspace.genie.ratings == [("NEGATIVE", "Wrong year.")]
        (button,) = thanks.elements("Action.Execute")
        assert button["title"] == "Take back my rating"
        await chat.press_only(button)
        assert chat.workspace.genie.ratings == [("NEGATIVE", "Wrong year."), ("NONE", "")]


async def test_forget_deletes_the_conversation_in_genie_too(tmp_path: Path) -> None:
    async with a_data_chat(tmp_path) as chat:
        await chat.ask("How many orders are there by region?")
        await chat.ask("/forget")
        assert len(chat.workspace.genie.deleted) == 1
        again = await chat.ask("as a pie chart")
        assert not again.elements("Chart."), "what is forgotten is not drawn again"


async def test_removing_the_app_deletes_what_a_chat_has_in_genie(tmp_path: Path) -> None:
    async with a_data_chat(tmp_path) as chat:
        await chat.ask("How many orders are there by region?")
        await chat.send_only({"type": "installationUpdate", "action": "remove"})
        assert len(chat.workspace.genie.deleted) == 1


async def test_in_agent_mode_a_question_shows_what_genie_does_and_a_follow_up_redraws_its_result(
    tmp_path: Path,
) -> None:
    async with a_data_chat(tmp_path, GENIE_AGENT_MODE="true") as chat:
        chat.workspace.warehouse.hold()
        asking = asyncio.create_task(chat.ask("How did revenue develop by month?"))
        await chat.shows("Running a query: Revenue by month")
        chat.workspace.warehouse.release()
        shown = await asking
        assert shown.elements("Chart."), "a chart"
        assert any("SELECT" in str(block) for block in shown.elements("CodeBlock")), "its SQL"
        assert (await chat.ask("as a pie chart")).elements("Chart.Pie")
        assert chat.workspace.genie_agents.responses == 1
