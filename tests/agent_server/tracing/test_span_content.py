"""What a trace may hold, by TRACE_CONTENT."""

from __future__ import annotations

import time
from typing import Any

import pytest

from agent_server.tracing.span_content import (
    MASKED_ADDRESS,
    MASKED_NUMBER,
    MAX_TEXT_CHARACTERS,
    NOT_RECORDED,
    Content,
    person_of,
    recorded_text,
    recorded_value,
)
from app.tools.redaction import REMOVED

DAPI = "dapi" + "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("text", "full", "masked"),
    [
        ("Write to jo.doe+x@example.co.uk.", "Write to jo.doe+x@example.co.uk.", f"Write to {MASKED_ADDRESS}."),
        ("Call +49 171 1234567 now", "Call +49 171 1234567 now", f"Call {MASKED_NUMBER} now"),
        ("card 4111-1111-1111-1111", "card 4111-1111-1111-1111", f"card {MASKED_NUMBER}"),
        ("on 2026-11 sold 1200 for 12.50", "on 2026-11 sold 1200 for 12.50", "on 2026-11 sold 1200 for 12.50"),
        (f"use {DAPI}", f"use {REMOVED}", f"use {REMOVED}"),
        ("Authorization: Bearer abcdefghijkl", f"Authorization: Bearer {REMOVED}", f"Authorization: Bearer {REMOVED}"),
        ("a@b, @ and x@", "a@b, @ and x@", "a@b, @ and x@"),
        ("", "", ""),
    ],
)
def test_a_text_keeps_what_its_mode_allows(text: str, full: str, masked: str) -> None:
    assert recorded_text(text, "full") == full
    assert recorded_text(text, "masked") == masked
    assert recorded_text(text, "none") == NOT_RECORDED


@pytest.mark.parametrize("content", ["full", "masked"])
def test_headers_and_secrets_are_taken_out_of_any_json(content: Content) -> None:
    headers = {"Authorization": "Basic eA==", "Cookie": ["a=b"], "X-Forwarded-Access-Token": "t", "accept": "*/*"}
    usage = {"input_tokens": 3, "max_tokens": 9, "token": "abc", "api_key": "k", "client_secret": "s", "idToken": "i"}

    clean = recorded_value({"headers": headers, "usage": usage, "list": [{"password": "p"}]}, content)

    assert clean["headers"] == {
        "Authorization": REMOVED,
        "Cookie": REMOVED,
        "X-Forwarded-Access-Token": REMOVED,
        "accept": "*/*",
    }
    kept = {"input_tokens": 3, "max_tokens": 9}
    assert clean["usage"] == kept | dict.fromkeys(("token", "api_key", "client_secret", "idToken"), REMOVED)
    assert clean["list"] == [{"password": REMOVED}]


def test_what_has_nothing_to_hide_is_the_same_object() -> None:
    value: Any = {"a": [1, "two", {"three": None}], "b": True}

    assert recorded_value(value, "masked") is value


def test_a_long_text_is_cut_and_says_so() -> None:
    text = recorded_text("x" * (MAX_TEXT_CHARACTERS + 5), "full")

    assert text == "x" * MAX_TEXT_CHARACTERS + "… [5 more characters]"


@pytest.mark.parametrize("after", ["", " and more" * 1_000])
@pytest.mark.parametrize("before", ["x", f"{DAPI} "])
def test_a_cut_leaves_no_part_of_a_secret(before: str, after: str) -> None:
    text = before * ((MAX_TEXT_CHARACTERS - 20) // len(before)) + f" {DAPI}" + after

    assert "dapi" not in recorded_text(text, "full")
    assert "dapi" not in recorded_text(text + f" {DAPI}"[: MAX_TEXT_CHARACTERS + 1_010 - len(text)], "full")


def test_a_deep_value_is_cut() -> None:
    value: Any = "jo@example.com"
    for _ in range(500):
        value = [value]

    assert "example.com" not in str(recorded_value(value, "masked"))


@pytest.mark.parametrize("piece", ["a@", "1 ", "a.", "+1-", "@a.", "1" * 40, "%", "eyJ", "a-"])
def test_masking_takes_time_in_proportion_to_the_text(piece: str) -> None:
    text = piece * (MAX_TEXT_CHARACTERS // len(piece))
    started = time.thread_time()

    recorded_text(text, "masked")

    assert time.thread_time() - started < 1.0


def test_a_person_is_named_by_a_pseudonym_where_people_are_masked() -> None:
    assert person_of("1234@567", "full") == "1234@567"
    assert person_of("1234@567", "masked") == person_of("1234@567", "none")
    assert "1234" not in person_of("1234@567", "masked")
    assert person_of("1234@567", "masked") != person_of("1234@568", "masked")
