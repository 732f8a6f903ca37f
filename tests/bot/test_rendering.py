"""What is sent, to the letter. UPDATE_GOLDEN=1 writes the files anew: read them before you commit them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from app.agent.events import Answer, End, Failure, Suspended
from app.bot.channel import (
    COPILOT,
    EMULATOR,
    OTHER,
    TEAMS_GROUP,
    TEAMS_PERSONAL,
    Channel,
    DisplaySettings,
    SensitivityLabel,
)
from app.bot.rendering import activities
from app.bot.rendering.rendered_end import END_NOTE, RenderedEnd
from app.content.blocks import (
    Action,
    Actions,
    Chart,
    ChartKind,
    Code,
    Column,
    ColumnType,
    Fact,
    Facts,
    Point,
    Series,
    Table,
)
from app.content.citation import Citation
from app.translation import ENGLISH

GOLDEN = Path(__file__).parents[1] / "golden"

CITED = Answer(
    "Sales grew by **4 %** [1], mostly in Porto [2].",
    (
        Citation(1, "Sales by region", "https://adb-1.azuredatabricks.net/q/1", "region, revenue"),
        Citation(2, "T" * 100, "http://not-secure.example", "q " * 200),
        Citation(3, "Never referred to"),
    ),
)
TABLED = Answer(
    "Sales grew.",
    blocks=(
        Table((Column("region"), Column("sales", ColumnType.NUMBER)), (("Porto", 4),), title="Sales"),
        Actions((Action("report", "Send a report", {"report": "r-1"}),)),
        Code("SELECT 1", "sql"),
    ),
)
ASKED = Suspended(
    "call-1",
    "I need your approval before I do this:",
    blocks=(Facts((Fact("job", "nightly"),)), Actions((Action("approve", "Approve", {"waiting_for": "call-1"}),))),
)
FAILED = Failure("The model is busy. Please ask again in a minute.", "0f3a", "Sales grew")


def final(channel: Channel, end: End) -> dict[str, Any]:
    rendered = RenderedEnd(end, channel, ENGLISH)
    return rendered.message(rendered.text, last=True)


def text_of(end: Answer | Failure) -> str:
    return RenderedEnd(end, OTHER, ENGLISH).text


@pytest.mark.parametrize(
    ("name", "activity"),
    [
        ("informative", activities.informative("Thinking…", 1, None)),
        ("streamed", activities.streamed("Sales grew", 3, "a-0001")),
        ("teams_final", activities.closing_stream(final(TEAMS_PERSONAL, CITED), "a-0001")),
        ("teams_failure", activities.closing_stream(final(TEAMS_PERSONAL, FAILED), "a-0001")),
        ("teams_group_answer", final(TEAMS_GROUP, CITED)),
        ("copilot_final", activities.closing_stream(final(COPILOT, CITED), "a-0001")),
        ("emulator_answer", final(EMULATOR, CITED)),
        ("other_channel_answer", final(OTHER, CITED)),
        ("teams_approval", final(TEAMS_PERSONAL, ASKED)),
        ("copilot_approval", final(COPILOT, ASKED)),
        ("teams_table", activities.closing_stream(final(TEAMS_PERSONAL, TABLED), "a-0001")),
        ("copilot_table", activities.closing_stream(final(COPILOT, TABLED), "a-0001")),
        ("other_channel_table", final(OTHER, TABLED)),
        ("help", final(TEAMS_PERSONAL, Answer("Type **/help**", by_model=False))),
    ],
)
def test_an_activity_is_what_it_was(name: str, activity: dict[str, Any]) -> None:
    file = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(json.dumps(activity, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    assert activity == json.loads(file.read_text(encoding="utf-8"))


def test_sources_that_the_text_does_not_cite_are_listed_below_it() -> None:
    answer = Answer("Sales grew.", (Citation(1, "Report"), Citation(2, "Wiki")))
    assert RenderedEnd(answer, TEAMS_PERSONAL, ENGLISH).text == "Sales grew.\n\nSources: [1] [2]"


@pytest.mark.parametrize(
    "end",
    [
        Failure("Ask again.", "e1", "```py\nx = "),
        Answer("```py\nx = 1\n", truncated=True),
        Answer("```py\nx = 1", (Citation(1, "Report"),)),
    ],
)
def test_notes_below_an_answer_are_outside_its_code(end: Answer | Failure) -> None:
    text = text_of(end)
    assert text.startswith(end.text)
    assert text.count("```") == 2
    assert text.rpartition("```")[2].startswith("\n\n")


def test_an_answer_that_reached_its_length_limit_says_so() -> None:
    assert text_of(Answer("Once upon", truncated=True)).endswith("*(The answer reached its length limit.)*")


NO_LABEL = [
    ("⚠️ Ask again. (error id: e1)", Failure("Ask again.", "e1", "Sales grew")),
    ("⚠️ Ask again. (error id: e1)", Failure("Ask again.", "e1")),
    ("> not read: a\n\n⚠️ Ask again. (error id: e1)", Failure("Ask again.", "e1", "> not read: a", by_model=False)),
    (END_NOTE.english, Answer("Sales grew")),
    ("*(The answer reached its length limit.)*", Answer("Sales grew", truncated=True)),
    ("Type **/help**", Answer("Type **/help**", by_model=False)),
]


@pytest.mark.parametrize(("part", "end"), NO_LABEL)
def test_the_programs_own_words_have_no_ai_label(part: str, end: Answer | Failure) -> None:
    assert "entities" not in RenderedEnd(end, TEAMS_PERSONAL, ENGLISH).message(part, last=True)


@pytest.mark.parametrize(
    ("part", "end"),
    [
        ("Sales grew\n\n⚠️ Ask again. (error id: e1)", Failure("Ask again.", "e1", "Sales grew")),
        ("Sales", Failure("Ask again.", "e1", "Sales grew")),
        ("Sources: [1]", Answer("Sales grew", (Citation(1, "Report"),))),
    ],
)
def test_a_part_with_words_of_the_model_has_the_ai_label(part: str, end: Answer | Failure) -> None:
    (label,) = RenderedEnd(end, TEAMS_PERSONAL, ENGLISH).message(part, last=True)["entities"]
    assert label["additionalType"] == ["AIGeneratedContent"]


@pytest.mark.parametrize(
    ("channel", "end", "types", "labelled"),
    [
        (TEAMS_PERSONAL, Answer("Sales grew"), ["AIGeneratedContent"], True),
        (TEAMS_GROUP, Answer("Sales grew"), ["AIGeneratedContent"], True),
        (TEAMS_GROUP, Answer("Page 2", by_model=False, blocks=TABLED.blocks), None, True),
        (COPILOT, Answer("Sales grew"), ["AIGeneratedContent"], False),
    ],
)
def test_an_answer_bears_the_sensitivity_label_where_the_channel_shows_it(
    channel: Channel, end: Answer, types: list[str] | None, labelled: bool
) -> None:
    display = DisplaySettings(sensitivity_label=SensitivityLabel("Internal", "Staff only", "e4cd6b3a"))
    rendered = RenderedEnd(end, channel.with_settings(display), ENGLISH)
    (entity,) = rendered.message(rendered.text, last=True)["entities"]
    assert entity.get("additionalType") == types
    usage = {"@type": "CreativeWork", "@id": "e4cd6b3a", "name": "Internal", "description": "Staff only"}
    assert entity.get("usageInfo") == (usage if labelled else None)


def test_the_programs_own_words_bear_no_sensitivity_label() -> None:
    channel = TEAMS_PERSONAL.with_settings(DisplaySettings(sensitivity_label=SensitivityLabel("Internal")))
    end = Answer("Type **/help**", by_model=False)
    assert "entities" not in RenderedEnd(end, channel, ENGLISH).message(end.text, last=True)


def test_a_message_has_at_most_20_citations() -> None:
    citations = tuple(Citation(n, f"Source {n}") for n in range(1, 41))
    end = Answer("x", citations)
    message = final(TEAMS_PERSONAL, end)["entities"][0]
    assert len(message["citation"]) == 20


def test_an_informative_line_has_at_most_1000_characters() -> None:
    assert len(activities.informative("x" * 5000, 1, None)["text"]) == 1000


RESULT = Table((Column("region"),), (("Porto",),))


def test_an_answer_that_is_only_a_card_has_a_text_too() -> None:
    """Copilot on phones shows no card, and a stream cannot end without text."""
    activity = final(TEAMS_PERSONAL, Answer("", blocks=(RESULT,)))
    assert activity["text"] == "Here is the result."
    assert len(activity["attachments"]) == 1


def test_a_table_that_came_before_a_failure_is_shown() -> None:
    failed = Failure("Ask again.", "e1", "Sales grew", blocks=(RESULT,))
    assert final(TEAMS_GROUP, failed)["attachments"]
    assert text_of(failed) == "Sales grew\n\n| region |\n| --- |\n| Porto |\n\n⚠️ Ask again. (error id: e1)"


def test_only_the_last_part_of_an_answer_carries_the_card() -> None:
    rendered = RenderedEnd(Answer("Sales grew.", blocks=(RESULT,)), TEAMS_PERSONAL, ENGLISH)
    assert "attachments" not in rendered.message("Sales", last=False)
    assert "attachments" in rendered.message("grew.", last=True)


def test_a_channel_that_shows_no_citations_gets_them_as_links() -> None:
    sources = (Citation(1, "Report", "https://wiki.example/r"), Citation(2, "Not used", "https://wiki.example/n"))
    text = RenderedEnd(Answer("It rose [1].", citations=sources), OTHER, ENGLISH).text
    assert text == "It rose [1].\n\n\\[1\\] [Report](https://wiki.example/r)"


def test_the_main_numbers_of_a_drawn_chart_stand_in_the_text_and_copilot_gets_the_table_there() -> None:
    chart = Chart(ChartKind.VERTICAL_BAR, (Series("", (Point("Porto", 12_000.0), Point("Faro", 5.0))),), "Sales")
    answer = Answer("It rose.", blocks=(chart,))
    assert RenderedEnd(answer, TEAMS_PERSONAL, ENGLISH).text == "It rose.\n\nSales: Porto: 12,000; Faro: 5"
    assert "| Porto | 12,000 |" in RenderedEnd(answer, COPILOT, ENGLISH).text
