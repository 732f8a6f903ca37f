"""Several questions in one chat, on workers that vanish, stall and stop while storage and the channel fail at times:
every question is answered whole and once, in order, and one stream is open at a time. In virtual time, by seeds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from app.agent.events import without_interruption
from app.bot.channel import COPILOT, TEAMS_GROUP, TEAMS_PERSONAL, Channel
from app.bot.replies.parts_delivery import SENT_AGAIN
from tests.fakes.random_history import NOTES, History, Question

CHANNELS = [TEAMS_PERSONAL, COPILOT, TEAMS_GROUP]
# Each of the first has shown a fault once: a question without a message on the queue, a stream that was left open.
SOME = pytest.param([61, 193, *range(3)], id="some")
MANY = pytest.param(range(1000, 1060), id="many", marks=[pytest.mark.slow, pytest.mark.proof])
SOME_ODD = pytest.param(range(2000, 2002), id="some")
MANY_ODD = pytest.param(range(2000, 2030), id="many", marks=[pytest.mark.slow, pytest.mark.proof])


def words_of(question: Question, texts: Iterable[str]) -> list[str]:
    """A table that goes on in another message repeats its header."""
    joined = ""
    for text in texts:
        if re.search(rf"\bq{question.number}w\d", text):
            for note in NOTES:
                text = text.replace(note, "")
            joined += re.sub(r"^[-| ]+$|[\s|`>]|python", "", text, flags=re.MULTILINE)
    words = re.findall(r"q\d+w\d+", joined)
    header = question.words[:2] if question.kind == "table" else []
    return [word for at, word in enumerate(words) if word not in header or word not in words[:at]]


def without_blanks(text: str) -> str:
    return "".join(without_interruption(text).split())


def faults_of(history: History) -> Iterator[str]:
    shown = history.chat.messages.values()
    unmarked = [text for text in shown if SENT_AGAIN.english not in text]
    for question in history.questions.values():
        words, mine = words_of(question, unmarked), rf"q{question.number}w\d"
        marked = words_of(question, (text for text in shown if SENT_AGAIN.english in text))
        if question.id in history.told_to_ask_again and not words:
            continue
        if words != question.words and not (set(words) | set(marked) == set(question.words) and marked):
            yield f"{question.number} ({question.kind}) shows {len(words)} of {len(question.words)} words"
        asked = [m for m in history.memory if m.role == "user" and m.text == f"Question {question.number}"]
        said = [m.text for m in history.memory if m.role == "assistant" and re.search(mine, m.text)]
        if len(asked) != 1 or [without_blanks(text) for text in said] != [without_blanks(question.answer)]:
            yield f"{question.number} is in the history {len(asked)} times, its answer {len(said)} times, or not whole"
    if history.chat.left_open:
        yield "a stream was left open"
    if history.chat.open_together:
        yield f"open at once: {history.chat.open_together}"
    yield from (f"failed: {error!r}" for error in history.errors)


def overtaken(history: History) -> Iterator[str]:
    """By one that was sent when the earlier was in the ledger already."""
    in_order = list(history.questions.values())
    for reply_state, first in enumerate(in_order):
        for then in in_order[reply_state + 1 :]:
            known = first.entered_at is not None and first.entered_at <= then.sent_at
            if known and min(said(history, then), default=1e9) < max(said(history, first), default=0.0):
                yield f"{then.number} was answered before {first.number}"


def said(history: History, question: Question) -> list[float]:
    return [at for at, text in history.chat.said_at if re.search(rf"\bq{question.number}w\d", text)]


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
@pytest.mark.parametrize("seeds", [SOME, MANY])
def test_whatever_fails_in_a_chat_every_question_is_answered_once_and_in_order(
    channel: Channel, seeds: Iterable[int], tmp_path: Path
) -> None:
    wrong = {}
    for seed in seeds:
        history = History(seed, channel, tmp_path / str(seed))
        history.play()
        if faults := [*faults_of(history), *overtaken(history)]:
            wrong[seed] = (faults, history.events)
    assert wrong == {}


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
@pytest.mark.parametrize("seeds", [SOME_ODD, MANY_ODD])
def test_absurd_timestamps_of_questions_hold_nobody_up_and_cost_no_answer(
    channel: Channel, seeds: Iterable[int], tmp_path: Path
) -> None:
    wrong = {}
    for seed in seeds:
        history = History(seed, channel, tmp_path / str(seed), odd_timestamps=True)
        history.play()
        if faults := list(faults_of(history)):
            wrong[seed] = (faults, history.events)
    assert wrong == {}
