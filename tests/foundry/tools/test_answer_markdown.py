"""What others wrote stays text: it becomes no link, no heading and no other source."""

from __future__ import annotations

import pytest

from app.content.blocks import Action, Code, Column, Folded, Form, Forms, Image, Input, Link, Table, Text
from app.content.citation import Citation
from app.foundry.tools.answer_markdown import Part, answer_markdown, parts_markdown


@pytest.mark.parametrize(
    ("title", "url", "line"),
    [
        ("Contract", "https://docs.example/7", "1. [Contract](https://docs.example/7)"),
        ("Contract", None, "1. Contract"),
        ("", "https://docs.example/7", "1. [Source](https://docs.example/7)"),
        (
            "a](https://evil.example)\n# b",
            "https://docs.example",
            "1. [a\\](https://evil.example) \\# b](https://docs.example)",
        ),
        ("a", "https://docs.example/x)[y](z", "1. [a](https://docs.example/x%29%5By%5D%28z)"),
        ("a", "https://docs.example/x y<z>", "1. [a](https://docs.example/x%20y%3Cz%3E)"),
        ("a", "https://docs.example/%20x", "1. [a](https://docs.example/%20x)"),
        ("a", "https://docs.example/\nx", "1. a"),
        ("a", "javascript:alert(1)", "1. a"),
        ("a", f"https://docs.example/{'x' * 3_000}", "1. a"),
    ],
)
def test_a_source_is_one_line_and_links_to_nothing_else(title: str, url: str | None, line: str) -> None:
    assert answer_markdown("Yes [1].", citations=[Citation(1, title, url)]) == f"Yes [1].\n\nSources:\n\n{line}"


def test_the_numbers_of_the_text_stay_and_each_source_of_a_table_is_named_once() -> None:
    link = Link("B", "https://b.example")
    tables = [Table((Column("n"),), ((1,),), source=each) for each in (link, Link("C", "https://c.example"), link)]
    citations = [Citation(1, "A"), Citation(2, "A", "ftp://a.example"), Citation(3, "B", "https://b.example")]
    answer = answer_markdown("A [1][2], B [3].", tables, citations)
    assert answer.endswith("Sources:\n\n1. A\n2. A\n3. [B](https://b.example)\n4. [C](https://c.example)")


def test_what_only_a_person_can_use_is_left_out() -> None:
    form = Form("Change it", (Input("n", "Rows"),), Action("approve", "Go"))
    details = Folded("How I got there", (Text("I looked."),))
    sql = Folded("Show SQL", (Text("All rows."), Code("SELECT 1", "sql")))
    image = Image("https://charts.example/1.png", "A chart")
    answer = answer_markdown("", [Forms((form,)), details, sql, image])
    assert answer == "**Show SQL**\n\nAll rows.\n\n```sql\nSELECT 1\n```\n\n[A chart](<https://charts.example/1.png>)"


def test_a_question_with_marks_in_it_is_one_heading() -> None:
    parts = [Part("# A\n\n## 9. B", "Yes."), Part("x" * 1_000, failure="Too long.")]
    first, *_ = parts_markdown(parts).split("\n\nYes.")
    assert first == "1 of 2 questions could not be answered: 2.\n\n## 1. \\# A \\#\\# 9. B"
    assert max(map(len, parts_markdown(parts).splitlines())) < 320
