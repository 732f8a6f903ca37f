"""Cards that Teams refused or drew otherwise in public bug reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.bot.rendering.adaptive_card import adaptive_card
from app.bot.rendering.block_markdown import markdown
from app.content.blocks import (
    Block,
    Chart,
    ChartKind,
    Code,
    Column,
    ColumnType,
    Fact,
    Facts,
    Folded,
    Point,
    Series,
    Table,
    Text,
)
from app.translation import translator_for

ENGLISH = translator_for("en")
NAMES = Column("name", ColumnType.TEXT)
# What renderers on phones take no card without, and none in which it is empty.
REQUIRED = {
    *("TextBlock.text", "TextRun.text", "FactSet.facts", "Fact.title", "Fact.value", "CodeBlock.codeSnippet"),
    *("ActionSet.actions", "Action.ToggleVisibility.targetElements", "Container.items", "RichTextBlock.inlines"),
}


def parts(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from parts(each)


def empty_parts(card: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for part in parts(card):
        kind = "Fact" if part.keys() == {"title", "value"} else part.get("type", "")
        found += [
            name for name in REQUIRED if name.rpartition(".")[0] == kind and not part.get(name.rpartition(".")[2])
        ]
    return found


EMPTY: dict[str, tuple[Block, ...]] = {
    "microsoft/AdaptiveCards#4478": (Table((NAMES, Column("", ColumnType.TEXT)), (("", " \n"), (None, "x"))),),
    "microsoft/AdaptiveCards#3645": (Folded("How", (Text(""), Code("", "sql"), Code(" ", "sql", "SQL"))),),
    "microsoft/AdaptiveCards#2111": (Facts((Fact("", ""), Fact("a", "")), ""),),
    "microsoft/AdaptiveCards#1168": (Facts((), "Nothing"), Folded("Empty", ())),
    "MicrosoftDocs/AdaptiveCards#453": (Folded("How", ()), Folded("Why", (Text(" "),))),
}


@pytest.mark.parametrize("blocks", EMPTY.values(), ids=EMPTY.keys())
def test_no_card_has_an_empty_part_that_renderers_require(blocks: tuple[Block, ...]) -> None:
    card = adaptive_card((*blocks, Facts((Fact("a", "b"),))), ENGLISH)
    assert card is not None
    assert empty_parts(card) == []


def test_what_is_shown_and_hidden_is_there_once() -> None:
    """microsoft/AdaptiveCards#1852, MicrosoftDocs/msteams-docs#7868"""
    folded = Folded("How", (Code("select 1", "sql"), Text("because"), Facts((Fact("a", "b"),))))
    card = adaptive_card((folded, folded, Facts((Fact("a", "b"),)), folded), ENGLISH)
    assert card is not None
    ids = [element["id"] for element in card["body"] if "id" in element]
    targets = [id for part in parts(card) for id in part.get("targetElements", ())]
    assert len(set(ids)) == len(ids) == 9
    assert targets == ids


@pytest.mark.parametrize(
    "code",
    [
        # OfficeDev/microsoft-365-agents-toolkit#9826
        "select count(distinct v) from t where d>='2023-08-01' and u rlike '^http?s://foo.bar.com/([^/]*)/answers/?'",
        # MicrosoftDocs/msteams-docs#5480: an expression that a TextBlock would evaluate
        "select '{{DATE(2017-02-14T06:00:00Z, SHORT)}}', '${x}', '<at>Ann</at>', \"a\tb\" -- \u00e9 \U0001f9de",
    ],
)
def test_code_is_shown_as_it_is_and_never_read_as_markdown(code: str) -> None:
    card = adaptive_card((Folded("Show SQL", (Code(code, "sql"),)),), ENGLISH)
    assert card is not None
    (_, drawn) = card["body"]
    # microsoft/AdaptiveCards#8927: without a language, Teams shows nothing.
    assert (drawn["type"], drawn["language"], drawn["codeSnippet"]) == ("CodeBlock", "Sql", code)
    assert drawn["fallback"]["inlines"][0]["text"] == code


def test_no_text_reads_otherwise_than_it_is() -> None:
    """CVE-2021-42574: what a person is asked to approve could be shown in another order."""
    trick = "drop\u202e elbat \u2066t\u2069"
    blocks = (
        Folded("Arguments", (Code(f'{{"sql": "{trick}"}}', "json"),)),
        Facts((Fact("sql", trick),)),
        Table((NAMES,), ((trick,),)),
    )
    shown = json.dumps(adaptive_card(blocks, ENGLISH), ensure_ascii=False) + "".join(
        markdown(b, ENGLISH) for b in blocks
    )
    assert not {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"} & {*shown}
    arabic = "\u0645\u0628\u064a\u0639\u0627\u062a 2024"
    assert arabic in json.dumps(adaptive_card((Table((NAMES,), ((arabic,),)),), ENGLISH), ensure_ascii=False)


def test_numbers_of_a_chart_are_those_that_every_reader_of_json_takes() -> None:
    points = (Point("a", 3.4e38), Point("b", 2.0**60), Point("c", 1.0), Point("d", 1e-300))
    card = adaptive_card((Chart(ChartKind.VERTICAL_BAR, (Series("v", points),), "", "x", "v"),), ENGLISH)
    assert card is not None
    numbers = [point["y"] for point in card["body"][0]["data"]]
    assert all(isinstance(number, float) or abs(number) < 2**53 for number in numbers)
    json.dumps(card, allow_nan=False)
