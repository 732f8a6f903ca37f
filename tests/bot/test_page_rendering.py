"""A table that is one page of a longer result, and the button for the rows after it."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.agent.events import Answer
from app.bot.channel import COPILOT
from app.bot.rendering.adaptive_card import adaptive_card
from app.bot.rendering.block_text import plain_text
from app.bot.rendering.markdown import utf16_units
from app.bot.rendering.rendered_end import RenderedEnd
from app.content.blocks import FIRST_ROW, Action, Chart, ChartKind, Column, Page, Point, Series, Table
from app.translation import ENGLISH


@given(st.integers(1, 60), st.integers(1, 10), st.integers(3_000, 20_000), st.integers(0, 500), st.booleans())
def test_the_next_page_begins_with_the_first_row_that_a_card_did_not_show(
    rows: int, columns: int, limit: int, first: int, is_last: bool
) -> None:
    button = Action("call_tool", "Next rows", {"tool": "next_rows", FIRST_ROW: str(first + rows)})
    table = Table(
        tuple(Column(f"c{n}") for n in range(columns)),
        tuple((f"row {first + n}",) * columns for n in range(rows)),
        page=Page(first, button, is_last),
    )
    chart = Chart(ChartKind.LINE, (Series("s", (Point("2024", 1.0), Point("2025", 2.0))),))
    card = adaptive_card([chart, table], ENGLISH, limit)
    assert card is not None
    assert utf16_units(json.dumps(card, ensure_ascii=False, separators=(",", ":"))) <= limit
    shown = sum(len(each["rows"]) - 1 for each in card["body"] if each["type"] == "Table")
    if shown == 0 or (is_last and shown == rows):
        assert "actions" not in card
    else:
        (action,) = card["actions"]
        assert action["data"] == {"tool": "next_rows", FIRST_ROW: str(first + shown)}


def test_a_later_page_says_which_rows_it_shows() -> None:
    button = Action("call_tool", "Next rows")
    page = Table((Column("a"),), (("x",), ("y",)), total_rows=12345, page=Page(1000, button, is_last=False))
    assert plain_text(page, ENGLISH).splitlines()[-1] == "Rows 1,001 to 1,002 of 12,345."
    assert plain_text(replace(page, total_rows=None), ENGLISH).splitlines()[-1] == "Rows 1,001 to 1,002."
    first = replace(page, page=Page(0, button, is_last=False))
    assert plain_text(first, ENGLISH).splitlines()[-1] == "Showing 2 of 12,345 rows."
    assert plain_text(replace(first, total_rows=None), ENGLISH).splitlines()[-1] == "Showing the first 2 rows."


def test_where_a_table_stands_in_the_text_its_button_is_on_the_card() -> None:
    button = Action("call_tool", "Next rows", {FIRST_ROW: "0"})
    table = Table((Column("a"),), (("x",),), total_rows=30, page=Page(20, button, is_last=False))
    (message,) = [RenderedEnd(Answer("", blocks=(table,)), COPILOT, ENGLISH).message("Hm.", last=True)]
    (action,) = message["attachments"][0]["content"]["actions"]
    assert action["data"] == {FIRST_ROW: "21"}


def test_buttons_of_two_results_are_told_apart() -> None:
    buttons = [Action("call_tool", "Next rows", {"result": name}) for name in "ab"]
    tables = [Table((Column("a"),), (("x",),), page=Page(0, button, is_last=False)) for button in buttons]
    card = adaptive_card(tables, ENGLISH)
    assert card is not None
    assert [(action["title"], action["data"]["result"]) for action in card["actions"]] == [
        ("Next rows", "a"),
        ("Next rows (2)", "b"),
    ]
