"""What people write of when a question is to be asked again, and when that is."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schedules.recurrence import Recurrence, occasion_of, zone_of
from app.schedules.schedule_sentences import USAGE
from app.schedules.when_parser import parse_when, split_question
from app.translation import LANGUAGES, translator_for

HOURLY = Recurrence()
DAILY = Recurrence(hour=8)


def at(hour: int, minute: int = 0, *weekdays: int, month_day: int | None = None) -> Recurrence:
    return Recurrence(hour=hour, minute=minute, weekdays=weekdays, month_day=month_day)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("every Monday at 8", at(8, 0, 0)),
        ("Mondays", at(8, 0, 0)),
        ("every day at 8:30", at(8, 30)),
        ("daily at 6 pm", at(18)),
        ("every day at 12am", at(0)),
        ("every day at 12 pm", at(12)),
        ("every weekday at 9", at(9, 0, 0, 1, 2, 3, 4)),
        ("every Monday and Thursday at noon", at(12, 0, 0, 3)),
        ("every month on the 1st at 8", at(8, month_day=1)),
        ("at 7:45 on the 31st of every month", at(7, 45, month_day=31)),
        ("every month on day 15 at 9", at(9, month_day=15)),
        ("every hour", HOURLY),
        ("jeden Montag um 8", at(8, 0, 0)),
        ("montags um 8 Uhr 30", at(8, 30, 0)),
        ("am Montag um 18.30 Uhr", at(18, 30, 0)),
        ("am 1. jedes Monats um 8.", at(8, month_day=1)),
        ("jede Stunde", HOURLY),
        ("werktags", at(8, 0, 0, 1, 2, 3, 4)),
        ("tous les lundis à 8h30", at(8, 30, 0)),
        ("chaque jour ouvré à 9 heures", at(9, 0, 0, 1, 2, 3, 4)),
        ("toutes les heures", HOURLY),
        ("le 1er de chaque mois à 8h", at(8, month_day=1)),
        ("cada lunes a las 8", at(8, 0, 0)),
        ("el día 1 de cada mes a las 8", at(8, month_day=1)),
        ("cada hora", HOURLY),
        ("毎週月曜日8時", at(8, 0, 0)),
        ("毎日午後3時30分", at(15, 30)),
        ("毎月1日に8時", at(8, month_day=1)),
    ],
)
def test_a_recurrence_is_read_in_the_languages_of_the_manifest(text: str, expected: Recurrence) -> None:
    when = parse_when(text)
    assert when is not None
    assert (when.recurrence, when.condition, when.zone) == (expected, None, "")


@pytest.mark.parametrize(
    "text",
    ["", "8", "tomorrow at 8", "every Monday at 25", "every Monday at 8:75", "every Monday at 8 or 9", "every moonday",
     "every 2 hours", "every month", "every month on the 32nd at 8", "every hour on Monday", "every 1000 days", "8:5",
     "every Monday 8" + " " * 300, "on the 1st at 8", "on the 1st Monday of every month",
     "every Monday of the month at 8",
     "jeden 2. Tag", "jeden 1. Montag im Monat", "cada 2 días", "cada 2 semanas los lunes", "tous les 2 jours",
     "every 3 month"],
)  # fmt: skip
def test_what_is_not_understood_in_every_word_is_not_guessed(text: str) -> None:
    assert parse_when(text) is None


@pytest.mark.parametrize(
    ("text", "language", "recurrence", "above", "limit"),
    [
        ("when above 300", "en", HOURLY, True, "300"),
        ("tell me when it is above 1,000.5", "en", HOURLY, True, "1000.5"),
        ("every day at 8 when below -5", "en", DAILY, False, "-5"),
        ("every Monday, if it is more than 3.5 million", "en", at(8, 0, 0), True, "3500000"),
        ("when > 20k", "en", HOURLY, True, "20000"),
        ("jeden Tag um 8, wenn es über 1.000,5 ist", "de", DAILY, True, "1000.5"),
        ("wenn es größer als 5 ist", "de", HOURLY, True, "5"),
        ("quand c'est plus de 1.000", "fr", HOURLY, True, "1000"),
        ("cuando sea menos de 1.000", "es", HOURLY, False, "1000"),
    ],
)
def test_a_limit_is_read_as_the_language_writes_numbers(
    text: str, language: str, recurrence: Recurrence, above: bool, limit: str
) -> None:
    when = parse_when(text, language)
    assert when is not None
    assert when.condition is not None
    assert (when.recurrence, when.condition.above, when.condition.limit) == (recurrence, above, Decimal(limit))


def test_a_time_zone_may_stand_anywhere() -> None:
    for text in ("every day at 8 Europe/Berlin", "every day (Europe/Berlin) at 8", "Europe/Berlin every day"):
        when = parse_when(text)
        assert when is not None
        assert (when.recurrence, when.zone) == (DAILY, "europe/berlin")
    assert str(zone_of("europe/berlin")) == "Europe/Berlin"
    assert str(zone_of("america/new_york")) == "America/New_York"
    assert str(zone_of("utc")) == "UTC"
    assert str(zone_of("america/port-au-prince")) == "America/Port-au-Prince"
    for wrong in ("", "Europe", "Berlin/Europe", "../etc/passwd", "W. Europe Standard Time", "x" * 99, "+01:00"):
        assert zone_of(wrong) is None


@pytest.mark.parametrize(
    ("text", "when", "question"),
    [
        ("every Monday at 8: How many?", "every Monday at 8", "How many?"),
        ("every Monday at 8:30: How many at 9:00?", "every Monday at 8:30", "How many at 9:00?"),
        ("every Monday at 8: 30 best customers", "every Monday at 8", "30 best customers"),
        ("毎日8時：売上は？", "毎日8時", "売上は？"),
        ("every Monday", "every Monday", ""),
    ],
)
def test_the_question_begins_after_the_colon_that_is_no_time(text: str, when: str, question: str) -> None:
    assert split_question(text) == (when, question)


BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("recurrence", "zone", "after", "expected"),
    [
        (at(8, 0, 0), BERLIN, "2026-11-27T12:00Z", ["2026-11-30T07:00Z", "2026-12-07T07:00Z"]),
        # The clocks of Berlin go forward on 29 March 2026 at 2:00 and back on 25 October 2026 at 3:00.
        (at(8), BERLIN, "2026-03-27T12:00Z", ["2026-03-28T07:00Z", "2026-03-29T06:00Z", "2026-03-30T06:00Z"]),
        (at(2, 30), BERLIN, "2026-03-28T02:00Z", ["2026-03-29T01:30Z", "2026-03-30T00:30Z"]),
        (at(2, 30), BERLIN, "2026-10-24T12:00Z", ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]),
        (at(1, 30), NEW_YORK, "2026-10-31T12:00Z", ["2026-11-01T05:30Z", "2026-11-02T06:30Z"]),
        (HOURLY, BERLIN, "2026-10-24T23:10Z", ["2026-10-25T00:00Z", "2026-10-25T01:00Z", "2026-10-25T02:00Z"]),
        (HOURLY, ZoneInfo("Asia/Kolkata"), "2026-01-01T00:10Z", ["2026-01-01T00:30Z", "2026-01-01T01:30Z"]),
        (HOURLY, ZoneInfo("Australia/Lord_Howe"), "2026-04-04T15:00Z", ["2026-04-04T16:00Z", "2026-04-04T16:30Z"]),
        (at(8, month_day=31), BERLIN, "2026-01-31T12:00Z", ["2026-02-28T07:00Z", "2026-03-31T06:00Z"]),
        # In Santiago the clocks go forward at midnight.
        (at(0), ZoneInfo("America/Santiago"), "2026-09-05T12:00Z", ["2026-09-06T04:00Z", "2026-09-07T03:00Z"]),
        (at(0), ZoneInfo("Pacific/Apia"), "2011-12-29T12:00Z", ["2011-12-30T10:00Z", "2011-12-31T10:00Z"]),
    ],
)
def test_an_occasion_keeps_its_local_time_when_the_clocks_change(
    recurrence: Recurrence, zone: ZoneInfo, after: str, expected: list[str]
) -> None:
    moment, occasions = datetime.fromisoformat(after).timestamp(), []
    for _ in expected:
        moment = recurrence.next_after(moment, zone)
        occasions.append(occasion_of(moment))
    assert occasions == expected


@given(
    st.builds(
        Recurrence,
        hour=st.none() | st.integers(0, 23),
        minute=st.integers(0, 59),
        weekdays=st.lists(st.integers(0, 6), unique=True).map(tuple),
        month_day=st.none() | st.integers(1, 31),
    ),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe", "UTC"]),
)
def test_the_next_occasion_is_later_and_none_lies_between(recurrence: Recurrence, moment: datetime, zone: str) -> None:
    after = moment.replace(tzinfo=UTC).timestamp()
    due = recurrence.next_after(after, ZoneInfo(zone))
    assert after < due <= after + 63 * 24 * 3600
    assert recurrence.next_after(due - 1, ZoneInfo(zone)) == due


@given(st.text(max_size=250))
def test_any_text_is_read_or_refused(text: str) -> None:
    parse_when(text)
    assert len("".join(split_question(text))) <= len(text)


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_the_examples_that_people_are_shown_are_understood_in_their_language(language: str) -> None:
    examples = [line for line in translator_for(language)(USAGE).splitlines() if line.startswith("- `/schedule ")]
    read = [parse_when(split_question(line.removeprefix("- `/schedule "))[0], language) for line in examples]
    monday, weekdays, above = read
    assert monday is not None
    assert weekdays is not None
    assert above is not None
    assert above.condition is not None
    assert monday.recurrence == at(8, 0, 0)
    assert (weekdays.recurrence, weekdays.zone.partition("/")[1]) == (at(17, 30, 0, 1, 2, 3, 4), "/")
    assert (above.recurrence, above.condition.above, above.condition.limit) == (HOURLY, True, Decimal(300))
