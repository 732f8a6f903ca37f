from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models import sse
from app.models.sse import EventTooLargeError, SseDecoder


def decoded(*chunks: bytes) -> list[bytes]:
    decoder = SseDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.flush()


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    lines = st.sampled_from(
        [b"data: ", b"data:", b"\n", b"\r\n", b"\n\n", b": ping\n", b"event: x\n", b"{}", b"a", b"\xc3\xa9"]
    )
    stream = b"".join(draw(st.lists(st.one_of(lines, st.binary(max_size=6)), max_size=30)))
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    return stream, [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@given(cut_streams())
def test_where_the_network_cuts_the_stream_does_not_change_the_events(case: tuple[bytes, list[bytes]]) -> None:
    whole, pieces = case
    assert decoded(*pieces) == decoded(whole)


@given(st.lists(st.text(), max_size=20), st.sampled_from([b"\n", b"\r\n"]))
def test_every_event_sent_arrives_as_it_was_sent(texts: list[str], line_end: bytes) -> None:
    sent = [json.dumps(text).encode() for text in texts]
    assert decoded(b"".join(b"data: " + data + line_end * 2 for data in sent)) == sent


def test_an_event_comes_out_as_soon_as_its_blank_line_is_there() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: one\n") == []
    assert decoder.feed(b"\ndata: tw") == [b"one"]
    assert decoder.feed(b"o\n\n") == [b"two"]


def test_comments_and_other_fields_are_passed_over() -> None:
    assert decoded(b": keep-alive\n\nevent: message\nid: 4\nretry: 5\ndata:a\n\n") == [b"a"]


def test_data_over_several_lines_is_one_event() -> None:
    assert decoded(b'data: {\ndata: "a": 1}\n\n') == [b'{\n"a": 1}']


def test_an_event_without_its_last_blank_line_is_not_lost() -> None:
    assert decoded(b"data: one\n\ndata: [DONE]") == [b"one", b"[DONE]"]


def test_an_endless_event_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    decoder = SseDecoder()
    decoder.feed(b"data: " + b"x" * 50)
    with pytest.raises(EventTooLargeError):
        decoder.feed(b"y" * 60)


def test_many_small_events_are_not_one_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    decoder = SseDecoder()
    assert sum(len(decoder.feed(b"data: 1234567890\n\n")) for _ in range(50)) == 50
