"""What is shown of an answer while it grows, and of one that is cut off, is Markdown in which nothing is left open."""

from __future__ import annotations

import time

import pytest
from markdown_it import MarkdownIt

from app.agent.events import Answer, Failure, interruption
from app.bot.channel import OTHER
from app.bot.rendering import activities
from app.bot.rendering.markdown import closable, end_of, render, streamable_prefix
from app.bot.rendering.rendered_end import RenderedEnd
from app.translation import ENGLISH
from tests.fakes.golden import GOLDEN, assert_golden, assert_golden_json

ANSWER = (GOLDEN / "rendering" / "answer.md").read_text(encoding="utf-8")
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
NOTE = "*(I was interrupted and go on here.)*"


def read(text: str) -> str:
    """The words that a person reads, code left out."""
    tokens = [token for block in READER.parse(text) for token in block.children or []]
    return "".join(token.content for token in tokens if token.type == "text")


def markup_in(words: str) -> set[str]:
    """Of `answer.md`, in which a citation and a sum belong to the words."""
    for known in ("[1]", "5 * 3", "5 *", "(error id: e1)", "(The answer reached its length limit.)"):
        words = words.replace(known, "")
    return set(words) & set("*_`~|#](")


def streamed(text: str) -> list[str]:
    """Everything that is shown while `text` comes in character by character."""
    shown: list[str] = []
    for end in range(len(text) + 1):
        payload = streamable_prefix(text[:end])
        if payload != (shown[-1] if shown else ""):
            shown.append(payload)
    return shown


def test_an_answer_is_sent_as_it_was() -> None:
    assert_golden("rendering/answer.sent.md", render(ANSWER))


def test_an_answer_is_streamed_as_it_was() -> None:
    grown = [shown[len(before) :] for before, shown in zip(["", *streamed(ANSWER)], streamed(ANSWER), strict=False)]
    assert_golden_json("rendering/answer.stream.json", grown)


def test_no_moment_of_a_stream_shows_markup() -> None:
    for shown in streamed(ANSWER):
        assert not markup_in(read(render(shown))), shown[-60:]


@pytest.mark.parametrize(
    "end",
    [
        Failure("Ask again.", "e1", ""),
        Answer("", truncated=True),
    ],
)
def test_an_answer_that_ends_at_any_moment_shows_no_markup(end: Answer | Failure) -> None:
    for length in range(len(ANSWER)):
        cut = ANSWER[:length]
        ended = Answer(cut, truncated=True) if isinstance(end, Answer) else Failure(end.sentence, end.error_id, cut)
        sent = RenderedEnd(ended, OTHER, ENGLISH).text
        assert sent.startswith(render(streamable_prefix(cut)))
        assert not markup_in(read(sent)), sent[-120:]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("So **a", "So "),
        ("So **a**", "So "),
        ("So **a** ", "So **a** "),
        ("see [the rep", "see "),
        ("see [the report](htt", "see "),
        ("see [1]", "see "),
        ("see [1].", "see [1]."),
        ("run `a", "run "),
        ("a snake_case_name here", "a snake_case_name here"),
        ("5 * 3 is 15", "5 * 3 is 15"),
        ("text\n- ", "text\n"),
        ("text\n#", "text\n"),
        ("text\n12", "text\n"),
        ("Look:\n\n```py\n", "Look:\n\n"),
        ("Look:\n\n```py\nx = 1", "Look:\n\n"),
        ("Look:\n\n```py\nx = 1\n", "Look:\n\n```py\nx = 1\n"),
        ("| a | b |\n", ""),
        ("| a | b |\n|---|---|\n", ""),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n| 3", "| a | b |\n|---|---|\n| 1 | 2 |\n"),
        ("| no table\nbut text", "| no table\nbut text"),
        ("![x](https://e", ""),
        ("a &am", "a "),
        ("a <b", "a "),
    ],
)
def test_what_is_open_is_held_back(text: str, shown: str) -> None:
    assert streamable_prefix(text) == shown


@pytest.mark.parametrize("mark", ["*", "**", "_", "~~", "[", "![", "`", "<", "<b", "&", "\\", "!"])
def test_markup_that_is_never_closed_is_held_back_for_a_limited_length(mark: str) -> None:
    text = f"so {mark}word" + " and so on" * 40
    assert len(streamable_prefix(text)) > len(text) - 20


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("So **a", "So **a**"),
        ("So **", "So "),
        ("So **a*", "So **a**"),
        ("So *a **b", "So *a **b***"),
        ("run `a", "run `a`"),
        ("see [the report](htt", "see "),
        ("```py\nx = ", "```py\nx = \n```"),
        ("a\n\n```py\n", "a\n\n"),
        ("a\n\n| a | b |\n|--", "a\n\n"),
        ("> ```py\n> x\n", "> ```py\n> x\n> ```"),
        ("1. a\n\n   ```py\n   x\n", "1. a\n\n   ```py\n   x\n   ```"),
    ],
)
def test_an_answer_that_is_cut_off_is_closed(text: str, sent: str) -> None:
    assert activities.with_notes(render(closable(text)), "note") == f"{sent}\n\nnote"


@pytest.mark.parametrize(
    ("said", "more", "sent"),
    [
        ("Once", " more", f"Once\n\n{NOTE}\n\n more"),
        ("", "Once", f"{NOTE}\n\nOnce"),
        ("```py\nx\n", "y\n```\n", f"```py\nx\n```\n\n{NOTE}\n\n```py\ny\n```\n"),
        ("|a|\n|-|\n|1|\n", "|2|\n", f"|a|\n|-|\n|1|\n\n{NOTE}\n\n|a|\n|-|\n|2|\n"),
        ("So **a", "b**", f"So **a**\n\n{NOTE}\n\n**b**"),
        (
            "1. a\n\n     ```py\n     x\n",
            "     y\n",
            f"1. a\n\n     ```py\n     x\n     ```\n\n     {NOTE}\n\n     ```py\n     y\n",
        ),
    ],
)
def test_after_an_interruption_code_and_emphasis_continue(said: str, more: str, sent: str) -> None:
    text = said + interruption(NOTE) + more
    assert render(text) == sent
    for end in range(len(text) - len(more), len(text) + 1):
        assert sent.startswith(render(streamable_prefix(text[:end])))


@pytest.mark.parametrize(
    "piece", ["[", "![", "` ", "*a ", "_a b* ", "<a", "|a|\n", "[](", "![](", "- \n", "```\n", "[a]["]
)
def test_the_time_is_linear_in_the_text(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        before = time.process_time()
        for work in (streamable_prefix, closable, render, end_of):
            work(text)
        return time.process_time() - before

    # Linear would be 8 times, quadratic 64 times; a busy machine's caches make a third of the difference.
    assert min(seconds(32_000) for _ in range(3)) < 24 * min(seconds(4_000) for _ in range(3)) + 0.02
