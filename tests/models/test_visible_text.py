"""Thinking, names of agents and repetitions are left out wherever the network cuts the text."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.repeated_text import RepeatedText
from app.models.visible_text import VisibleText

PARTS = st.lists(
    st.sampled_from(
        [
            *("<think>", "</think>", "<thinking>", "</thinking>", "<name>", "</name>", "<content>", "</content>"),
            *("<", ">", "</", "a", "sales-agent", " ", "\n", "Ends here.", "<na", "think>"),
        ]
    ),
    max_size=10,
)


def pieces(text: str, cuts: Iterable[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def shown(parts: Iterable[str], *, drops_names: bool = True) -> str:
    message = VisibleText(drops_names=drops_names)
    return "".join([*map(message.add, parts), message.end_message()])


@given(PARTS, st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_where_a_message_is_cut_does_not_change_what_is_shown(parts: list[str], cuts: list[int], names: bool) -> None:
    whole = "".join(parts)
    assert shown(pieces(whole, cuts), drops_names=names) == shown([whole], drops_names=names)
    assert shown(whole, drops_names=names) == shown([whole], drops_names=names)


@given(st.text(), st.lists(st.integers(0, 200), max_size=8))
def test_text_without_such_tags_is_shown_as_it_is(text: str, cuts: list[int]) -> None:
    assert shown(pieces(text, cuts)) == text


@pytest.mark.parametrize(
    ("sent", "right"),
    [
        ("<think>a</think>\n\nYes.", "Yes."),
        ("\n<think>a</think><thinking>b</thinking> Yes.", "Yes."),
        ("<think>never ends", ""),
        ("Yes. <think>no</think>", "Yes. <think>no</think>"),
        ("<name>sales-agent</name>", ""),
        ("<name>sales-agent</name>\n\nYes.", "Yes."),
        ("<name>sales</name><content>Yes.</content>", "Yes."),
        ("<name>sales</name><content>a < b", "a < b"),
        ("<name>Ada</name><age>36</age>", "<name>Ada</name><age>36</age>"),
        ("<name>two\nlines</name>", "<name>two\nlines</name>"),
        ("<name>" + "x" * 200, "<name>" + "x" * 200),
        ("<name>Ada", "<name>Ada"),
        ("<", "<"),
    ],
)
def test_what_is_for_people_is_shown(sent: str, right: str) -> None:
    assert shown([sent]) == shown(sent) == right


def said_after(earlier: list[str], parts: Iterable[str]) -> str:
    text = RepeatedText()
    for message in earlier:
        text.add(message)
        text.end_message()
    text.tool_called()
    return "".join([*map(text.add, parts), text.end_message()])


SENTENCES = st.sampled_from(
    ["Let me check the sales.", "Let me check the sales", "They rose.", "Let me", "再看一下。", "Hm: "]
)


@given(st.lists(SENTENCES, max_size=3), st.lists(SENTENCES | st.just(" ") | st.just("\n\n"), max_size=5), st.data())
def test_where_a_repetition_is_cut_does_not_change_what_is_shown(
    earlier: list[str], later: list[str], data: st.DataObject
) -> None:
    whole = "".join(later)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=6))
    assert said_after(earlier, pieces(whole, cuts)).strip() == said_after(earlier, [whole]).strip()
    assert whole.strip().endswith(said_after(earlier, [whole]).strip())


@pytest.mark.parametrize(
    ("earlier", "later", "right"),
    [
        (["Let me check."], "Let me check.", ""),
        (["Let me check."], "\n\nLet me check.\n", ""),
        (["Let me check."], "Let me check. They rose.", "They rose."),
        (["Let me check"], "Let me check\n\nThey rose.", "They rose."),
        (["Let me check"], "Let me check the sales.", "Let me check the sales."),
        (["Let me check."], "Let me check.5 of them", "Let me check.5 of them"),
        (["Yes."], "Yes. They rose.", "Yes. They rose."),
        (["One. Two.", "One."], "One. Two. Three.", "Three."),
        (["再看一下数据吧朋友。"], "再看一下数据吧朋友。涨了。", "涨了。"),
        ([], "Anything.", "Anything."),
    ],
)
def test_a_sentence_said_before_a_tool_was_used_is_not_said_again(earlier: list[str], later: str, right: str) -> None:
    assert said_after(earlier, [later]) == said_after(earlier, later) == right


def test_without_a_tool_in_between_nothing_is_left_out() -> None:
    text = RepeatedText()
    assert text.add("Again.") + text.end_message() + text.add("Again.") == "Again.Again."
