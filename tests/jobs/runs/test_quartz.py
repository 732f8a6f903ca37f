"""Expressions of Quartz, judged by the examples of its documentation and by reading every second of some days."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.runs.quartz import QuartzExpression

YEAR_END = datetime(2027, 12, 31)


def after(expression: str, moment: str, until: datetime = YEAR_END) -> str:
    found = QuartzExpression.parse(expression).first_after(datetime.fromisoformat(moment), until)
    return "" if found is None else found.isoformat(" ")


@pytest.mark.parametrize(
    ("expression", "moment", "expected"),
    [
        ("0 0 3 * * ?", "2026-11-27 02:59:59", "2026-11-27 03:00:00"),
        ("0 0 3 * * ?", "2026-11-27 03:00:00", "2026-11-28 03:00:00"),
        ("0 0 12 ? * WED", "2026-11-27", "2026-12-02 12:00:00"),
        ("0 15 10 ? * 6L", "2026-11-27 11:00", "2026-12-25 10:15:00"),
        ("0 15 10 ? * fril", "2026-11-27 11:00", "2026-12-25 10:15:00"),
        ("0 15 10 ? * 6#3", "2026-11-27", "2026-12-18 10:15:00"),
        ("0 0 0 ? * L", "2026-11-27", "2026-11-28 00:00:00"),
        ("0 0 0 L * ?", "2026-11-27", "2026-11-30 00:00:00"),
        ("0 0 0 L-3 * ?", "2026-11-27 01:00", "2026-12-28 00:00:00"),
        ("0 0 0 LW * ?", "2027-01-01", "2027-01-29 00:00:00"),
        ("0 0 0 L-1W * ?", "2027-01-01", "2027-01-29 00:00:00"),
        ("0 0 0 15W * ?", "2026-11-27", "2026-12-15 00:00:00"),
        ("0 0 0 1W * ?", "2027-05-01", "2027-05-03 00:00:00"),
        ("0 0 0 31W * ?", "2027-01-01", "2027-01-29 00:00:00"),
        ("0 0 0 31W * ?", "2027-04-01", "2027-05-31 00:00:00"),
        ("0 0/5 14,18 * * ?", "2026-11-27 14:57", "2026-11-27 18:00:00"),
        ("0 5/25 * * * ?", "2026-11-27 14:31", "2026-11-27 14:55:00"),
        ("0 /20 * * * ?", "2026-11-27 14:31", "2026-11-27 14:40:00"),
        ("*/30 * * * * ?", "2026-11-27 14:31:30", "2026-11-27 14:32:00"),
        ("0 0 22-2 * * ?", "2026-11-27 02:00", "2026-11-27 22:00:00"),
        ("0 0 6 ? * FRI-MON", "2026-11-30 06:00", "2026-12-04 06:00:00"),
        ("0 0 6 1 NOV-FEB/2 ?", "2026-11-27", "2027-01-01 06:00:00"),
        ("0 0 6 1/10 * ?", "2026-11-27", "2026-12-01 06:00:00"),
        ("0 0 6 29 2 ?", "2026-11-27", ""),
        ("0 0 6 * * ? 2028-2030", "2026-11-27", ""),
        ("0 0 6 1 1 ? 2027", "2026-11-27", "2027-01-01 06:00:00"),
        ("17 43 7 * * *", "2026-11-27 08:00", "2026-11-28 07:43:17"),
    ],
)
def test_an_expression_says_when_a_job_is_due_next(expression: str, moment: str, expected: str) -> None:
    assert after(expression, moment) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "0 3 * * *",
        "0 0 3 * * ? 2026 *",
        "0 60 3 * * ?",
        "0 0 24 * * ?",
        "0 0 3 32 * ?",
        "0 0 3 ? * 8",
        "0 0 3 ? * 6#6",
        "0 0/0 3 * * ?",
        "0 0 3 ? 13 *",
        "0 0 3 L-31 * ?",
        "0 0 3 LL * ?",
        "0 0 3 L3 * ?",
        "0 0 3 W * ?",
        "0 0 3 1,,2 * ?",
        "0 ? 3 * * ?",
        "0 ٣ 3 * * ?",
        "0 0 3 ? * MONDAY",
        "0 -5 3 * * ?",
        "0 0 3 * * ? " + "9" * 5000,
    ],
)
def test_what_is_no_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        QuartzExpression.parse(expression)


@given(st.text(alphabet="0123456789*?,-/#LWMONJA ", max_size=30))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        found = QuartzExpression.parse(text)
    except ValueError:
        return
    assert found.hours
    found.first_after(datetime(2026, 11, 27), datetime(2026, 12, 27))


def parts(first: int, last: int) -> st.SearchStrategy[str]:
    number = st.integers(first, last)
    return st.one_of(
        st.just("*"),
        number.map(str),
        st.tuples(number, number).map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.tuples(number, st.integers(1, last)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
        st.lists(number, min_size=1, max_size=3).map(lambda numbers: ",".join(map(str, numbers))),
    )


def matches(part: str, value: int, first: int, last: int) -> bool:
    """The same language, read backwards: whether a value is one that the field means."""
    if part == "*":
        return True
    if "," in part:
        return any(matches(each, value, first, last) for each in part.split(","))
    if "/" in part:
        start, step = map(int, part.split("/"))
        return value >= start and (value - start) % step == 0
    if "-" in part:
        start, end = map(int, part.split("-"))
        return start <= value <= end if start <= end else value >= start or value <= end
    return int(part) == value


@given(
    parts(0, 59),
    parts(0, 23),
    parts(1, 31),
    parts(1, 12),
    st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1)),
)
def test_the_next_time_is_the_first_minute_that_matches(
    minute: str, hour: str, day: str, month: str, moment: datetime
) -> None:
    until = moment + timedelta(days=3)
    found = QuartzExpression.parse(f"0 {minute} {hour} {day} {month} ?").first_after(moment, until)
    each = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    expected = None
    while each <= until and expected is None:
        if not (matches(day, each.day, 1, 31) and matches(month, each.month, 1, 12)):
            each = datetime.combine(each.date() + timedelta(days=1), datetime.min.time())
        elif not matches(hour, each.hour, 0, 23):
            each = each.replace(minute=0) + timedelta(hours=1)
        elif not matches(minute, each.minute, 0, 59):
            each += timedelta(minutes=1)
        else:
            expected = each
    assert found == expected


@given(st.dates(date(2020, 1, 1), date(2040, 1, 1)), st.integers(1, 31))
def test_the_nearest_weekday_is_one_day_of_the_month_at_most_two_days_away(day: date, number: int) -> None:
    rule = QuartzExpression.parse(f"0 0 0 {number}W * ?")
    days = [date(day.year, day.month, each + 1) for each in range(28)]
    found = [each for each in days if rule.is_on(each)]
    assert len(found) <= 1
    assert all(each.weekday() < 5 and abs(each.day - number) <= 2 for each in found)
