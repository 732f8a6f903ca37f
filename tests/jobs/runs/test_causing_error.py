"""The causing exception of a trace, and what makes two errors the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.runs.causing_error import MAX_TRACE_CHARACTERS, bounded_trace, causing_error, normalised_error

_GOLDEN = Path(__file__).parents[2] / "golden" / "job_errors"
_TRACES = sorted(_GOLDEN.glob("*.trace.txt"))


@pytest.mark.parametrize("trace", _TRACES, ids=lambda path: path.name.removesuffix(".trace.txt"))
def test_the_cause_is_shown_and_not_its_wrapper(trace: Path) -> None:
    expected = trace.with_name(trace.name.replace(".trace.", ".error.")).read_text(encoding="utf-8")
    assert causing_error("", trace.read_text(encoding="utf-8")) == expected.strip()


@pytest.mark.parametrize(
    ("error", "trace", "expected"),
    [
        ("", "", ""),
        ("The Spark driver has stopped unexpectedly and is restarting.", "", None),
        ("Workload failed, see logs for details", "ValueError: no rows\n", "ValueError: no rows"),
        ("SystemExit: 1", "", "SystemExit: 1"),
        ("java.lang.OutOfMemoryError: Java heap space", "Execution ended early\n", None),
        ("KeyError: 'a\rb'", "", "KeyError: 'ab'"),
    ],
)
def test_what_no_trace_explains_keeps_the_service_s_own_words(error: str, trace: str, expected: str | None) -> None:
    assert causing_error(error, trace) == (error if expected is None else expected)


@given(
    st.text(max_size=400),
    st.lists(st.sampled_from(["Caused by: a.B", "KeyError: ", "\n", ": ", "\tat x", "(", "é\x1b["])),
)
def test_any_text_gives_a_short_error(error: str, pieces: list[str]) -> None:
    found = causing_error(error, "".join(pieces))
    assert len(found) <= 1_200
    assert len(normalised_error(found)) <= 500


@pytest.mark.parametrize(
    "piece",
    [
        "Caused by: a.Error: x\n",
        "a." * 50 + "\n",
        "Lost task (",
        "/a" * 9,
        "f" * 99,
        "KeyError\n",
        "\x1b[",
        "[A_B",
        "1.",
        ": ",
    ],
)
def test_a_huge_trace_is_bounded(piece: str) -> None:
    huge = piece * (500_000 // len(piece))
    assert len(normalised_error(causing_error(huge, huge))) <= 500
    assert len(bounded_trace(huge)) <= MAX_TRACE_CHARACTERS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Py4JError: o412.save timed out after 30.5 s", "Py4JError: o9.save timed out after 31 s"),
        ("no rows for 2026-11-27T01:02:03Z", "no rows for 2026-11-26 03:04:05"),
        ("not found: abfss://raw@acc.dfs.core.windows.net/a/1", "not found: abfss://raw@acc.dfs.core.windows.net/b"),
        ("run 0b1f6d2e-8a3c-4c1e-9f00-112233445566 lost", "run 7c1f6d2e-8a3c-4c1e-9f00-112233445577 lost"),
        ("No such file: '/tmp/a7/b.csv'", "No such file: '/tmp/c9/d.csv'"),
        ("executor 10.0.0.7:4040 lost", "executor 10.1.2.3:4041 lost"),
    ],
)
def test_errors_that_differ_in_numbers_ids_paths_and_times_are_the_same(one: str, other: str) -> None:
    assert normalised_error(one) == normalised_error(other)


def test_other_errors_are_not_the_same() -> None:
    assert normalised_error("KeyError: 'region'") != normalised_error("KeyError: 'country'")
