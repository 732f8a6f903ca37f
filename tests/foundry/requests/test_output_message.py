"""What is sent to an output queue: always small enough, and readable where it was cut."""

from __future__ import annotations

import base64
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from app.foundry.requests.output_message import SHORTENED, fits, output_message, shortened
from app.storage.queue import MAX_QUEUE_MESSAGE_BYTES

# Azure's limit.
MAX_ENCODED_BYTES = 64 * 1024


def test_the_message_is_an_object_with_two_members() -> None:
    message = output_message('Größe: 5 "m"\n\x00 😀', "id \ud83d")
    assert json.loads(message) == {"Value": 'Größe: 5 "m"\n\x00 😀', "CorrelationId": "id \ud83d"}
    assert len(message.encode()) < 80, "not written as escapes where that is not needed"


def test_a_value_is_sent_whole_up_to_the_limit() -> None:
    room = MAX_QUEUE_MESSAGE_BYTES - len(output_message("", "c1"))
    assert fits("x" * room, "c1")
    assert not fits("x" * (room + 1), "c1")
    assert not fits("é" * room, "c1")


@settings(max_examples=15)
@given(st.text(max_size=20), st.integers(min_value=2_000, max_value=60_000), st.text(max_size=1_000))
def test_what_is_cut_fits_whatever_it_consists_of(piece: str, times: int, id: str) -> None:
    value = piece * times
    if not fits(value, id):
        message = output_message(shortened(value, id), id)
        assert len(base64.b64encode(message.encode())) <= MAX_ENCODED_BYTES
        assert json.loads(message)["CorrelationId"] == id
        assert json.loads(message)["Value"].endswith(SHORTENED)


def test_it_is_cut_between_lines_and_a_block_of_code_is_closed() -> None:
    row = "| 2026-11-27 | 17 |"
    value = "\n".join(["```", *[row] * 10_000, "```"])
    cut = shortened(value, "c1")
    assert cut.endswith(f"\n{row}\n```{SHORTENED}")
    assert len(cut) > MAX_QUEUE_MESSAGE_BYTES * 0.9


def test_a_single_long_line_is_cut_within_it() -> None:
    assert len(shortened("Heading\n" + "x" * 100_000, "c1")) > MAX_QUEUE_MESSAGE_BYTES * 0.9


def test_the_list_of_sources_stays() -> None:
    sources = "\n\nSources:\n\n1. [Contract 7](https://docs.example/7)"
    assert shortened("x\n" * 40_000 + sources, "c1").endswith(f"x{SHORTENED}{sources}")
    several = f"a{sources}\n\n## 2. More?\n\n" + "x\n" * 40_000 + sources
    assert shortened(several, "c1").endswith(f"x{SHORTENED}")
    long = "\n".join(f"{number}. [Contract {number}](https://docs.example/)" for number in range(1000))
    assert "Sources:" not in shortened("x\n" * 40_000 + f"\n\nSources:\n\n{long}", "c1")
