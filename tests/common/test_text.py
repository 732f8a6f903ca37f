"""Text with halves of surrogate pairs in it can be written as UTF-8."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.common.text import pending_surrogate, replace_lone_surrogates


@given(st.text(st.characters()))
def test_any_text_can_be_written_and_one_that_could_be_is_not_changed(text: str) -> None:
    repaired = replace_lone_surrogates(text)
    repaired.encode()
    assert replace_lone_surrogates(repaired) == repaired
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert repaired == text


def test_two_halves_of_a_character_are_joined_and_a_lone_one_is_replaced() -> None:
    assert replace_lone_surrogates("a\ud83d\ude00\ud83d") == "a😀\ufffd"


@given(st.text(st.characters()), st.text(st.characters()))
def test_a_text_may_be_cut_anywhere_if_the_first_half_of_a_pair_waits_for_the_second(first: str, second: str) -> None:
    pending = pending_surrogate(first)
    shown = replace_lone_surrogates(first.removesuffix(pending))
    assert shown + replace_lone_surrogates(pending + second) == replace_lone_surrogates(first + second)
