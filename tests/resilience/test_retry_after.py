from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.resilience.retry_after import MAX_RETRY_AFTER_SECONDS, retry_after_seconds

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("3", 3),
        (" 3 ", 3),
        ("1.5", 1.5),
        ("0", 0),
        ("-4", None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("1_0", None),
        ("٣", None),
        ("999999999", 3600),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30),
        ("Sat, 21 Nov 2026 12:00:30", 30),
        ("Sat, 21 Nov 2026 12:00:30 -0000", 30),
        ("Sat, 21 Nov 2026 13:00:30 +0100", 30),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
        ("Sat, 21 Nov 2036 12:00:00 GMT", 3600),
        ("Sat, 21 Nov 2026 12:00:30 GMT" + " " * 200 + "x", None),
    ],
)
def test_a_wait_is_read_from_seconds_or_from_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, now=NOON) == seconds


@given(st.text(max_size=60))
def test_any_header_gives_a_wait_within_the_limit_or_none(header: str) -> None:
    seconds = retry_after_seconds(header)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_SECONDS
