"""What is read of a message, however its sender encoded it."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.storage.queue_encoding import UnreadableContentError, decode_message, encode_message, text_of

TEXT = st.text(st.characters(codec="utf-8"))


@given(st.dictionaries(TEXT, TEXT, max_size=3))
def test_an_object_is_read_plain_and_encoded(value: dict[str, str]) -> None:
    body = json.dumps(value, ensure_ascii=False)
    for content in (body, f"\ufeff\r\n\t {body}", encode_message(body), f" {encode_message(body)}\n"):
        assert json.loads(decode_message(content)) == value


@given(TEXT)
def test_any_text_comes_out_of_base64_as_it_went_in(body: str) -> None:
    assert decode_message(encode_message(body)) == body


def test_base64_in_lines_is_read() -> None:
    body = json.dumps({"question": "why " * 60})
    assert decode_message(base64.encodebytes(body.encode()).decode()) == body


@pytest.mark.parametrize("content", ["no base64!", "[1]", '"a"', "gIA=", "YQ", "e\x00==", "語"])
def test_what_is_neither_is_refused_without_a_word_of_it_and_left_to_its_reader(content: str) -> None:
    with pytest.raises(UnreadableContentError) as refused:
        decode_message(content)
    assert content not in str(refused.value)
    assert refused.value.__cause__ is None
    assert text_of(content) == content
