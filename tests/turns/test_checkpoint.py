"""What one worker writes down of a turn, and another reads."""

from __future__ import annotations

import json
import random
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.events import Answer, Failure
from app.content.blocks import Citation
from app.turns.checkpoint import Checkpoint

MOST = 75_000
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
citations = st.builds(Citation, st.integers(1, 9), texts, st.none() | texts, texts)
ends = st.none() | st.builds(
    Answer, texts, st.lists(citations, max_size=3).map(tuple), st.booleans(), st.booleans()
) | st.builds(Failure, texts, texts, texts)  # fmt: skip


@given(texts, st.dictionaries(texts, st.integers() | texts | st.lists(texts), max_size=4), ends)
def test_what_is_written_is_read(text: str, reply_state: dict[str, Any], end: Answer | Failure | None) -> None:
    checkpoint = Checkpoint(text, reply_state, end)
    assert Checkpoint.from_json(checkpoint.to_json(MOST)) == checkpoint


@given(st.integers(0, 50))
def test_an_answer_that_begins_with_what_was_shown_is_written_once(shown: int) -> None:
    answer = Answer("x" * 50_000 + "y")
    checkpoint = Checkpoint(answer.text[:shown], {}, answer)
    assert len(checkpoint.to_json(MOST)) < 50_200
    assert Checkpoint.from_json(checkpoint.to_json(MOST)) == checkpoint


def test_an_end_too_long_for_its_row_is_left_out_and_the_place_stays() -> None:
    words = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=120_000))
    checkpoint = Checkpoint("Once", {"stream_id": "s", "rest": [words[:60_000]]}, Answer("Once" + words))
    written = checkpoint.to_json(MOST)
    assert len(written) <= MOST
    assert Checkpoint.from_json(written) == Checkpoint("Once", {"stream_id": "s"})


def test_a_long_answer_and_the_rest_of_it_fit_as_prose_does() -> None:
    prose = "".join(
        f"In row {number} of the table the plan says {number * 7919 % 1000} units.\n" for number in range(3000)
    )
    checkpoint = Checkpoint(
        "", {"rest": [prose[n : n + 18_000] for n in range(18_000, len(prose), 18_000)]}, Answer(prose)
    )
    assert len(prose) > 100_000
    assert Checkpoint.from_json(checkpoint.to_json(MOST)) == checkpoint


def test_a_long_answer_that_nothing_packs_is_in_the_row_once() -> None:
    chinese = "".join(map(chr, random.Random(1).choices(range(0x4E00, 0x5E00), k=70_000)))
    rest = {"rest": [chinese[n : n + 18_000] for n in range(18_000, len(chinese), 18_000)], "perhaps_posted": True}
    checkpoint = Checkpoint(chinese[:18_000], rest, Answer(chinese))
    assert Checkpoint.from_json(checkpoint.to_json(MOST)) == checkpoint


def test_an_older_version_finds_no_rest_that_it_would_take_for_a_text() -> None:
    answer = "All that there is to say about it. " * 9
    written = Checkpoint("", {"rest": [answer[:50], answer[50:]], "perhaps_posted": True}, Answer(answer)).to_json(MOST)
    assert json.loads(written)["reply_state"] == {"perhaps_posted": True}


@pytest.mark.parametrize(
    "written",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        '{"text": "x"}',
        '{"text": "x", "reply_state": 7}',
        '{"text": "x", "reply_state": {}, "answer": 7}',
        '{"text": "x", "reply_state": {}, "texts": {"rest": [["a", "b"]]}}',
        '{"text": "x", "reply_state": {}, "texts": {"rest": [[1]]}}',
        '{"text": "x", "reply_state": {}, "texts": 7}',
    ],
)
def test_what_cannot_be_read_counts_as_nothing(written: str) -> None:
    assert Checkpoint.from_json(written) == Checkpoint()
