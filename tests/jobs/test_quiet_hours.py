"""Quiet hours over midnight and over changes of the clocks."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.jobs.incidents.incident import Incident, IncidentRun
from app.jobs.notifications.notice_timing import MANY_JOBS, held_until
from app.jobs.notifications.notifier import Notice
from app.jobs.quiet_hours import QuietHours
from tests.jobs.chat.sample_incidents import ANN, an_incident

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(time(22), time(7), BERLIN)
# Half an hour at Lord Howe; Apia skipped a whole day; Nuuk and Cairo change near midnight.
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Nuuk"]
TIMES = st.times().map(lambda each: each.replace(second=0, microsecond=0))
MOMENTS = st.one_of(
    st.integers(0, 4_000_000_000),
    # Days on which clocks change in Berlin, New York and Apia.
    *(st.integers(day, day + 86_400) for day in (1_774_742_400, 1_792_886_400, 1_793_491_200, 1_325_203_200)),
)
HOURS = st.builds(QuietHours, TIMES, TIMES, st.sampled_from(ZONES).map(ZoneInfo))


def at(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("hours", "moment", "end"),
    [
        (NIGHT, at("2026-11-27 21:59"), None),
        (NIGHT, at("2026-11-27 22:00"), at("2026-11-28 07:00")),
        (NIGHT, at("2026-11-28 00:00"), at("2026-11-28 07:00")),
        (NIGHT, at("2026-11-28 06:59"), at("2026-11-28 07:00")),
        (NIGHT, at("2026-11-28 07:00"), None),
        (QuietHours(time(12), time(13), BERLIN), at("2026-11-27 12:30"), at("2026-11-27 13:00")),
        (QuietHours(time(12), time(13), BERLIN), at("2026-11-27 23:30"), None),
        (QuietHours(time(8), time(8), BERLIN), at("2026-11-27 08:00"), None),
        # The night in which an hour is missing, and the one in which there is one twice.
        (NIGHT, at("2026-03-29 01:59"), at("2026-03-29 07:00")),
        (NIGHT, at("2026-10-25 02:30", fold=1), at("2026-10-25 07:00")),
        (QuietHours(time(22), time(2, 30), BERLIN), at("2026-03-29 01:59"), at("2026-03-29 03:30")),
        (QuietHours(time(22), time(2, 30), BERLIN), at("2026-10-25 02:29"), at("2026-10-25 02:30")),
        (QuietHours(time(22), time(2, 30), BERLIN), at("2026-10-25 02:15", fold=1), None),
        # The next quiet hours begin before these end.
        (QuietHours(time(3, 15), time(2, 30), BERLIN), at("2026-03-29 01:00"), at("2026-03-30 02:30")),
    ],
)
def test_quiet_hours_end_when_the_clock_on_the_wall_says_so(
    hours: QuietHours, moment: float, end: float | None
) -> None:
    assert hours.end_after(moment) == end


@given(hours=HOURS, moment=MOMENTS)
def test_what_waits_is_told_once_it_is_quiet_no_more_and_within_two_days(hours: QuietHours, moment: int) -> None:
    end = hours.end_after(moment)
    if end is None:
        return
    assert moment < end <= moment + timedelta(days=2, hours=2).total_seconds()
    assert hours.end_after(end) is None
    assert hours.end_after((moment + end) / 2) == end


@given(hours=HOURS, moment=MOMENTS)
def test_on_a_day_without_change_of_the_clocks_the_local_time_decides(hours: QuietHours, moment: int) -> None:
    local = datetime.fromtimestamp(moment, hours.zone)
    offsets = {(local + timedelta(hours=each)).utcoffset() for each in range(-50, 51, 2)}
    assume(len(offsets) == 1)
    now = local.time()
    if hours.begins <= hours.ends:
        is_quiet = hours.begins <= now < hours.ends
    else:
        is_quiet = now >= hours.begins or now < hours.ends
    assert (hours.end_after(moment) is not None) == is_quiet


def test_an_escalation_of_many_jobs_and_what_a_person_decided_are_told_at_any_time() -> None:
    night = at("2026-11-28 03:00")
    runs = tuple(
        IncidentRun(key=f"{n}", run_id=n, job_id=n, job_name="", url="", ended_at_seconds=0.0)
        for n in range(100, 100 + MANY_JOBS - 1)
    )

    def at_night(_: Incident) -> QuietHours:
        return NIGHT

    many, fewer = an_incident(runs=runs), an_incident(runs=runs[1:])
    assert held_until(Notice("n", "escalated", night, many), at_night, night) == night
    assert held_until(Notice("n", "escalated", night, fewer), at_night, night) == at("2026-11-28 07:00")
    assert held_until(Notice("n", "opened", night, many), at_night, night) == at("2026-11-28 07:00")
    assert held_until(Notice("n", "opened", night, fewer), None, night) == night
    assert held_until(Notice("n", "recovered", night, fewer), at_night, night) > night
    assert held_until(Notice("n", "recovered", night, an_incident(decided_by=ANN)), at_night, night) == night
    assert held_until(Notice("n", "changed", night, fewer), at_night, night) == night
