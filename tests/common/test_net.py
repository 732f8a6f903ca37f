"""Which hosts are this machine, and which URLs are safe."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.common.net import is_loopback, path_segment, secure_origin


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("2130706433", False),
        ("", False),
    ],
)
def test_only_this_machines_own_names_and_addresses_are_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://adb-1.2.azuredatabricks.net/serving-endpoints?o=1", "https://adb-1.2.azuredatabricks.net"),
        ("https://host:8443/", "https://host:8443"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
    ],
)
def test_the_origin_of_a_secure_url_is_taken(url: str, origin: str) -> None:
    assert secure_origin(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "http://host",
        "ftp://x",
        "https://me:pw@host",
        "https://",
        "https://a b",
        "https://h:0",
        "https://h:99999",
    ],
)
def test_a_url_that_is_not_secure_or_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        secure_origin(url)


@given(st.text(max_size=60))
def test_any_text_is_an_origin_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert secure_origin(text).startswith(("https://", "http://"))


@pytest.mark.parametrize(
    ("name", "segment"),
    [("a", "a"), ("a/b", "a%2Fb"), (".", "%2E"), ("..", "%2E%2E"), ("a..b", "a..b"), ("a b?#", "a%20b%3F%23")],
)
def test_a_name_is_one_segment_of_a_path(name: str, segment: str) -> None:
    assert path_segment(name) == segment
