"""What the benchmarks conclude about the channel's pacing from what arrived."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load_records import SentActivity, TurnTiming
from benchmarks.pacing import breaches, final_allowed, final_lateness, words_lateness


def update(arrived: float, *, answered: float | None = None, kind: str | None = "streaming") -> SentActivity:
    return SentActivity(arrived, arrived + 0.01 if answered is None else answered, "POST", "typing", kind, "")


def end(arrived: float, kind: str | None = "final") -> SentActivity:
    return SentActivity(arrived, arrived, "POST", "message", kind, "")


def a_turn(*sends: SentActivity) -> TurnTiming:
    return TurnTiming("c", 1, "yes", posted=9.0, status=200, first_token=9.1, last_token=10.0, sends=list(sends))


@pytest.mark.parametrize(
    ("sends", "expected"),
    [
        ([update(1.0), update(2.01), update(3.02)], 0),
        # A clock that is a few milliseconds off is no breach.
        ([update(1.0), update(2.006)], 0),
        ([update(1.0), update(1.99), update(3.0), update(3.2)], 2),
        ([update(1.0, answered=2.6), update(2.5)], 1),
        ([update(1.0, answered=2.6), update(3.61)], 0),
        # Typing belongs to no stream, nor does a message of its own.
        ([update(1.0, kind=None), update(1.05), update(1.2, kind=None), end(2.1)], 0),
        ([update(1.0), end(1.5, None)], 0),
    ],
)
def test_requests_of_a_stream_that_come_less_than_a_second_after_an_answer_are_breaches(
    sends: list[SentActivity], expected: int
) -> None:
    assert breaches(sends) == expected


@given(st.lists(st.floats(0, 100), max_size=20), st.randoms())
def test_breaches_do_not_depend_on_the_order_in_which_sends_were_noted(arrivals: list[float], random: Any) -> None:
    sends = [update(arrived) for arrived in arrivals]
    shuffled = list(sends)
    random.shuffle(shuffled)
    assert breaches(shuffled) == breaches(sends)
    assert 0 <= breaches(sends) <= max(0, len(sends) - 1)


@pytest.mark.parametrize(
    ("sends", "allowed"),
    [
        # The update before it is old.
        ([update(8.0), end(10.02)], 10.0),
        ([update(9.5, answered=9.5), end(10.53)], 10.5),
        ([update(9.5, answered=10.8), end(11.9)], 11.8),
        ([update(9.5, kind=None), end(10.3, None)], 10.0),
        ([update(9.9), end(10.3, None)], 10.0),
        ([end(10.25, None)], 10.0),
    ],
)
def test_a_final_message_waits_for_the_model_and_for_a_second_after_the_streams_last_request(
    sends: list[SentActivity], allowed: float
) -> None:
    turn = a_turn(*sends)
    assert final_allowed(turn) == pytest.approx(allowed)
    assert final_lateness(turn) == pytest.approx(sends[-1].arrived - allowed)


def test_a_turn_without_a_final_message_has_no_lateness() -> None:
    assert final_lateness(a_turn(update(9.5))) is None


@pytest.mark.parametrize(
    ("sends", "late"),
    [
        ([update(9.0, kind=None), update(9.05, kind="informative"), update(9.15), end(10.2)], 0.05),
        ([update(9.0, kind=None), end(9.3, None)], 0.2),
        ([update(9.05, kind="informative")], None),
    ],
)
def test_first_words_are_the_first_that_shows_some_of_the_answer(sends: list[SentActivity], late: float | None) -> None:
    found = words_lateness(a_turn(*sends))
    assert found is None if late is None else found == pytest.approx(late)
