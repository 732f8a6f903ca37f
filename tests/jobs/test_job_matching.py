"""Which jobs a name pattern or a tag means."""

from __future__ import annotations

import time

import pytest

from app.jobs.job_matching import has_tag, name_matches


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("nightly_etl", "NIGHTLY*", True),
        ("nightly_etl", "nightly", False),
        ("[prod] nightly", "[prod] *", True),
        ("p nightly", "[prod] *", False),
        ("a*b", "a*b", True),
        ("STRASSE", "straße", True),
        ("one\ntwo", "one*", True),
        ("", "*", True),
    ],
)
def test_a_pattern_is_the_whole_name_in_any_case(name: str, pattern: str, expected: bool) -> None:
    assert name_matches(name, pattern) is expected


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    began = time.process_time()
    assert not name_matches("a" * 300, "*a" * 100 + "b")
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("tag", "expected"), [("team", True), ("team=data", True), ("team=web", False), ("=data", False), ("other", False)]
)
def test_a_tag_is_a_key_or_a_key_with_its_value(tag: str, expected: bool) -> None:
    assert has_tag({"team": "data"}, tag) is expected
