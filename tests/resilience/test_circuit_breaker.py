from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from app.resilience.circuit_breaker import CircuitBreaker, CircuitOpenError
from app.telemetry.recorder import Recorder
from app.telemetry.span_records import Measurement
from app.telemetry.turn_span import TurnSpan, traced
from tests.fakes.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(100.0)


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(
        "endpoint", failure_threshold=3, failing_seconds=10, open_seconds=5, probe_seconds=30, clock=clock
    )


def fail(breaker: CircuitBreaker) -> None:
    with breaker.call() as call:
        call.failed()


def succeed(breaker: CircuitBreaker) -> None:
    with breaker.call() as call:
        call.succeeded()


def say_nothing(breaker: CircuitBreaker) -> None:
    with breaker.call():
        pass


def fail_until_open(breaker: CircuitBreaker, clock: Clock) -> None:
    for seconds in (0, 5, 5):
        clock.now += seconds
        fail(breaker)
    assert breaker.state == "open"


def test_it_opens_when_enough_calls_in_a_row_have_failed_for_long_enough(breaker: CircuitBreaker, clock: Clock) -> None:
    fail_until_open(breaker, clock)
    with pytest.raises(CircuitOpenError) as refused:
        breaker.call()
    assert refused.value.retry_after_seconds == 5
    assert "endpoint" in str(refused.value)


def test_a_short_fault_that_many_callers_meet_at_once_does_not_open_it(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(100):
        fail(breaker)
    clock.now += 9.9
    fail(breaker)
    assert breaker.state == "closed"
    clock.now += 0.1
    fail(breaker)
    assert breaker.state == "open"


@pytest.mark.parametrize("outcome", [succeed, say_nothing])
def test_failures_must_follow_one_another(
    breaker: CircuitBreaker, clock: Clock, outcome: Callable[[CircuitBreaker], None]
) -> None:
    fail(breaker)
    fail(breaker)
    clock.now += 20
    outcome(breaker)
    fail(breaker)
    assert breaker.state == ("open" if outcome is say_nothing else "closed")


def test_half_open_it_lets_a_single_probe_through_whose_success_closes_it(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fail_until_open(breaker, clock)
    clock.now += 5
    assert breaker.state == "half-open"
    with breaker.call() as probe:
        for _ in range(10):
            with pytest.raises(CircuitOpenError):
                breaker.call()
        probe.succeeded()
        assert breaker.state == "closed"
        succeed(breaker)


def test_a_probe_that_fails_opens_it_again(breaker: CircuitBreaker, clock: Clock) -> None:
    fail_until_open(breaker, clock)
    clock.now += 5
    fail(breaker)
    assert breaker.state == "open"
    clock.now += 5
    succeed(breaker)
    assert breaker.state == "closed"


def test_a_probe_whose_caller_left_makes_room_for_another(breaker: CircuitBreaker, clock: Clock) -> None:
    fail_until_open(breaker, clock)
    clock.now += 5
    with pytest.raises(asyncio.CancelledError), breaker.call():
        raise asyncio.CancelledError
    succeed(breaker)
    assert breaker.state == "closed"


def test_a_probe_that_takes_too_long_no_longer_keeps_the_next_one_back(breaker: CircuitBreaker, clock: Clock) -> None:
    fail_until_open(breaker, clock)
    clock.now += 5
    with breaker.call() as slow:
        clock.now += 29
        with pytest.raises(CircuitOpenError):
            breaker.call()
        clock.now += 1
        with breaker.call() as next_probe:
            slow.failed()
            assert breaker.state == "half-open"
            next_probe.succeeded()
    assert breaker.state == "closed"


def test_a_call_from_before_it_opened_cannot_keep_it_open(breaker: CircuitBreaker, clock: Clock) -> None:
    with breaker.call() as old:
        fail_until_open(breaker, clock)
        clock.now += 4
        old.failed()
    clock.now += 1
    assert breaker.state == "half-open"


def test_a_call_from_before_it_opened_that_is_answered_closes_it(breaker: CircuitBreaker, clock: Clock) -> None:
    with breaker.call() as old:
        fail_until_open(breaker, clock)
        old.succeeded()
    assert breaker.state == "closed"


def test_changes_are_logged_and_counted_and_nothing_else_is(
    breaker: CircuitBreaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    recorder, kept = Recorder(), Kept()
    recorder.attach(kept)
    with caplog.at_level(logging.INFO), traced(TurnSpan("message", recorder, None, records_text=False)):
        fail_until_open(breaker, clock)
        clock.now += 5
        fail(breaker)
        clock.now += 5
        succeed(breaker)
        succeed(breaker)
    assert [record.getMessage() for record in caplog.records] == [
        "The circuit breaker of the endpoint is open",
        "The circuit breaker of the endpoint is closed",
    ]
    assert [
        (each.attributes["agent.circuit_breaker.name"], each.attributes["agent.circuit_breaker.state"])
        for each in kept.measurements
        if each.instrument.name == "agent.circuit_breaker.changes"
    ] == [("endpoint", "open"), ("endpoint", "closed")]


class Kept:
    def __init__(self) -> None:
        self.measurements: list[Measurement] = []

    def span(self, span: object) -> None:
        pass

    def measured(self, measurement: Measurement) -> None:
        self.measurements.append(measurement)


class BusyError(Exception):
    pass


class RefusedError(BusyError):
    pass


async def test_a_call_around_which_it_stands_counts_failures_but_no_refusals(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    async def call(error: Exception | None = None) -> str:
        if error is not None:
            raise error
        return "done"

    async def made(error: Exception | None = None) -> str:
        return await breaker.around(lambda: call(error), failures=BusyError, refusals=(RefusedError,))

    assert await made() == "done"
    for error in [BusyError(), BusyError(), RefusedError(), BusyError(), BusyError(), ValueError()]:
        with pytest.raises(type(error)):
            await made(error)
        clock.now += 6
    assert breaker.state == "closed", "a refusal is an answer"
    with pytest.raises(BusyError):
        await made(BusyError())
    with pytest.raises(CircuitOpenError):
        await made()
