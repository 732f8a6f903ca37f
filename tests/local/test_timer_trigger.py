"""A timer trigger's schedule and listener, on a clock that jumps."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.functions.timer import TimerRequest
from hypothesis import given
from hypothesis import strategies as st

from app.local.indexing import TimerFunction
from app.local.schedule import Schedule, ScheduleError
from app.local.timer_trigger import TimerListener
from tests.fakes.virtual_time import VirtualTimeLoop

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def times(expression: str, count: int = 3, start: datetime = NOON) -> list[str]:
    schedule = Schedule.parse(expression)
    moments = list(itertools.accumulate(range(count + 1), lambda moment, _: schedule.after(moment), initial=start))
    return [moment.strftime("%a %d %b %H:%M:%S") for moment in moments[1 : count + 1]]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 17 3 * * *", ["Sun 22 Nov 03:17:00", "Mon 23 Nov 03:17:00", "Tue 24 Nov 03:17:00"]),
        ("*/20 * * * * *", ["Sat 21 Nov 12:00:20", "Sat 21 Nov 12:00:40", "Sat 21 Nov 12:01:00"]),
        ("0 30 9 * * Mon-Fri", ["Mon 23 Nov 09:30:00", "Tue 24 Nov 09:30:00", "Wed 25 Nov 09:30:00"]),
        ("0 0 0 13 * 5", ["Fri 13 Aug 00:00:00", "Fri 13 Oct 00:00:00", "Fri 13 Apr 00:00:00"]),
        ("*/5 * * * *", ["Sat 21 Nov 12:05:00", "Sat 21 Nov 12:10:00", "Sat 21 Nov 12:15:00"]),
        ("0 0/20 8-9 1 january,Jul *", ["Fri 01 Jan 08:00:00", "Fri 01 Jan 08:20:00", "Fri 01 Jan 08:40:00"]),
        ("0 0 0 29 2 sun", ["Sun 29 Feb 00:00:00", "Sun 29 Feb 00:00:00", "Sun 29 Feb 00:00:00"]),
        ("06:00:00", ["Sat 21 Nov 18:00:00", "Sun 22 Nov 00:00:00", "Sun 22 Nov 06:00:00"]),
    ],
)
def test_a_schedule_is_due_when_azure_says(expression: str, expected: list[str]) -> None:
    assert times(expression) == expected


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("", "'' is not a schedule: that has six fields"),
        ("* * * * * * *", "that has six fields"),
        ("0 0 25 * * *", "'0 0 25 .*' is not a schedule: '25' is not a valid hour"),
        ("0 0 0 * * fun", "'fun' is not a valid day of the week"),
        ("0 0 0 * ma *", "'ma' is not a valid month"),
        ("0 0 9-5 * * *", "'9-5' ends before it begins, as hour"),
        ("*/0 * * * * *", "'.*/0' is not a valid second"),
        ("0 0 0 31 2 *", "'0 0 0 31 2 .*' is never due"),
        ("00:00:00", "'00:00:00' must be longer than zero"),
        ("00:99:00", "'00:99:00' is not a duration"),
    ],
)
def test_invalid_schedules_are_refused_with_the_reason(expression: str, sentence: str) -> None:
    with pytest.raises(ScheduleError, match=sentence):
        Schedule.parse(expression)


@given(
    st.tuples(*(st.sampled_from(["*", *each]) for each in (["7", "*/25"], ["0,30", "11"], ["3-5", "0"]))),
    st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1)),
)
def test_no_due_time_is_skipped(time_of_day: tuple[str, ...], start: datetime) -> None:
    expression = " ".join([*time_of_day, "*", "*", "*"])
    schedule = Schedule.parse(expression)
    seconds, minutes, hours, *_ = schedule.fields
    moment = start.replace(tzinfo=UTC)
    after = schedule.after(moment)
    assert after > moment
    assert (after.second in seconds, after.minute in minutes, after.hour in hours) == (True, True, True)
    between = moment.replace(microsecond=0) + timedelta(seconds=1)
    while between < after:
        fits = between.second in seconds and between.minute in minutes and between.hour in hours
        assert not fits, f"{expression} passes over {between}"
        between += timedelta(seconds=1) if after - between < timedelta(seconds=90) else timedelta(seconds=13)


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return NOON + timedelta(seconds=asyncio.get_running_loop().time() - 1000.0) + self.ahead


class Timer:
    """The listener of a function that notes when it was started, and whether it was late."""

    def __init__(self, file: Path, schedule: str = "0 17 3 * * *", **options: bool) -> None:
        self.clock = Clock()
        self.file = file
        self.schedule = schedule
        self.options = {"run_on_startup": False, "monitored": True} | options
        self.starts: list[tuple[str, bool]] = []
        self.requests: list[TimerRequest] = []
        self.takes = 0.0
        self.raises = False

    async def code(self, timer: TimerRequest) -> None:
        self.requests.append(timer)
        self.starts.append((self.clock().strftime("%d %H:%M:%S"), timer.past_due))
        await asyncio.sleep(self.takes)
        if self.raises:
            raise LookupError

    def listener(self) -> TimerListener:
        schedule = Schedule.parse(self.schedule)
        function = TimerFunction("clean", schedule, parameter="timer", context=False, code=self.code, **self.options)
        return TimerListener(function, self.file, now=self.clock)

    async def runs_for(self, **time: float) -> None:
        listener = self.listener()
        task = asyncio.create_task(listener.run())
        await asyncio.sleep(timedelta(**time).total_seconds())
        listener.stop()
        await task


def in_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(work)


def test_a_timer_starts_its_function_each_time_it_is_due(tmp_path: Path) -> None:
    timer = Timer(tmp_path / "timers" / "clean.json")
    in_virtual_time(timer.runs_for(days=2))
    assert timer.starts == [("22 03:17:00", False), ("23 03:17:00", False)]
    assert timer.requests[1].schedule_status["Next"] == "2026-11-23T03:17:00+00:00"
    assert timer.requests[1].schedule_status["Last"].startswith("2026-11-22T03:17:00")


def test_a_function_that_runs_at_startup_is_not_late(tmp_path: Path) -> None:
    timer = Timer(tmp_path / "clean.json", run_on_startup=True)
    in_virtual_time(timer.runs_for(hours=1))
    assert timer.starts == [("21 12:00:00", False)]


def test_a_time_that_passed_while_no_host_ran_is_made_up_for_once(tmp_path: Path) -> None:
    timer = Timer(tmp_path / "clean.json")

    async def scenario() -> None:
        await timer.runs_for(hours=1)
        await asyncio.sleep(timedelta(days=3).total_seconds())
        await timer.runs_for(hours=1)
        await timer.runs_for(hours=1)

    in_virtual_time(scenario())
    assert timer.starts == [("24 13:00:00", True)]


def test_a_timer_without_a_monitor_makes_up_for_nothing(tmp_path: Path) -> None:
    for options, schedule in (({"monitored": False}, "0 17 3 * * *"), ({}, "*/30 * * * * *")):
        timer = Timer(tmp_path / "clean.json", schedule, **options)

        async def scenario(timer: Timer) -> None:
            await timer.runs_for(seconds=10)
            await asyncio.sleep(timedelta(days=3).total_seconds())
            await timer.runs_for(seconds=10)

        in_virtual_time(scenario(timer))
        assert timer.starts == []
        assert list(tmp_path.iterdir()) == []


def test_a_changed_schedule_makes_up_for_nothing(tmp_path: Path) -> None:
    before, after = Timer(tmp_path / "clean.json"), Timer(tmp_path / "clean.json", "0 0 4 * * *")

    async def scenario() -> None:
        await before.runs_for(hours=1)
        await asyncio.sleep(timedelta(days=3).total_seconds())
        await after.runs_for(hours=1)

    in_virtual_time(scenario())
    assert after.starts == []


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schedule": "0 17 3 * * *", "last": "x", "next": 1}'])
def test_an_unreadable_record_is_ignored(tmp_path: Path, content: str) -> None:
    file = tmp_path / "clean.json"
    file.write_text(content)
    timer = Timer(file)
    in_virtual_time(timer.runs_for(days=1))
    assert timer.starts == [("22 03:17:00", False)]
    assert json.loads(file.read_text())["next"] == "2026-11-23T03:17:00+00:00"


def test_a_record_that_cannot_be_written_does_not_stop_the_timer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    timer = Timer(tmp_path / "file" / "clean.json")
    in_virtual_time(timer.runs_for(days=1))
    assert timer.starts == [("22 03:17:00", False)]
    assert "the next time of function clean could not be recorded" in caplog.text


def test_a_laptop_that_wakes_up_notices_at_once_that_a_timer_is_due(tmp_path: Path) -> None:
    timer = Timer(tmp_path / "clean.json")

    async def scenario() -> None:
        listener = timer.listener()
        task = asyncio.create_task(listener.run())
        await asyncio.sleep(60)
        timer.clock.ahead = timedelta(hours=20)
        await asyncio.sleep(60)
        listener.stop()
        await task

    in_virtual_time(scenario())
    assert len(timer.starts) == 1


def test_a_function_is_not_started_while_it_runs(tmp_path: Path) -> None:
    timer = Timer(tmp_path / "clean.json", "0 * * * * *")
    timer.takes = 90.0
    in_virtual_time(timer.runs_for(minutes=5))
    assert [at for at, _ in timer.starts] == ["21 12:01:00", "21 12:03:00"]


def test_a_function_that_fails_is_logged_and_started_the_next_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    timer = Timer(tmp_path / "clean.json")
    timer.raises = True
    in_virtual_time(timer.runs_for(days=2))
    assert len(timer.starts) == 2
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == ["function clean failed"] * 2
