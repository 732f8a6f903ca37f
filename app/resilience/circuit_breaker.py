"""Stops calls to a remote that has failed for a while: callers fail at once instead of waiting for it."""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

from app.telemetry.turn_span import circuit_breaker_changed

_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)


class CircuitState(enum.StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitOpenError(Exception):
    """The call was not made. `retry_after_seconds` is when the next one may be."""

    def __init__(self, name: str, retry_after_seconds: float) -> None:
        super().__init__(f"the circuit breaker of the {name} is open")
        self.retry_after_seconds = retry_after_seconds


class CircuitBreaker:
    """Opens after `failure_threshold` failures in a row that cover at least `failing_seconds`: a short fault that many
    callers meet at once does not open it.

    Open, it refuses every call for `open_seconds`. Then it is half-open and lets one call through, the probe: its
    success closes the breaker, its failure opens it again. A probe that has not ended after `probe_seconds` no longer
    keeps the next one back.
    """

    def __init__(
        self,
        name: str,
        *,
        failure_threshold: int = 5,
        failing_seconds: float = 10.0,
        open_seconds: float = 5.0,
        probe_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._failure_threshold = failure_threshold
        self._failing_seconds = failing_seconds
        self._open_seconds = open_seconds
        self._probe_seconds = probe_seconds
        self._clock = clock
        self._failures = 0
        self._first_failure_at = 0.0
        self._open_until: float | None = None
        self._probe: CircuitCall | None = None
        self._probe_ends_at = 0.0

    @property
    def state(self) -> CircuitState:
        if self._open_until is None:
            return CircuitState.CLOSED
        return CircuitState.OPEN if self._clock() < self._open_until else CircuitState.HALF_OPEN

    def call(self) -> CircuitCall:
        """To be used as a context manager around the call. Raises CircuitOpenError."""
        self.check()
        admitted = CircuitCall(self)
        if self.state is CircuitState.HALF_OPEN:
            if self._probe is not None and self._clock() < self._probe_ends_at:
                raise CircuitOpenError(self._name, self._open_seconds)
            self._probe = admitted
            self._probe_ends_at = self._clock() + self._probe_seconds
        return admitted

    async def around(
        self,
        call: Callable[[], Awaitable[_Result]],
        *,
        failures: type[Exception],
        refusals: tuple[type[Exception], ...] = (),
    ) -> _Result:
        """What `call` returns. `failures` say that the remote does not answer; those that are `refusals` are answers.

        Raises CircuitOpenError without a call.
        """
        with self.call() as admitted:
            try:
                result = await call()
            except failures as failure:
                if isinstance(failure, refusals):
                    admitted.succeeded()
                else:
                    admitted.failed()
                raise
            admitted.succeeded()
            return result

    def check(self) -> None:
        """Raises CircuitOpenError while every call is refused."""
        left = 0.0 if self._open_until is None else self._open_until - self._clock()
        if left > 0:
            raise CircuitOpenError(self._name, left)

    def record_success(self) -> None:
        self._failures = 0
        self._probe = None
        if self._open_until is not None:
            self._open_until = None
            self._report(CircuitState.CLOSED)

    def record_failure(self, call: CircuitCall) -> None:
        if self._open_until is not None:
            if call is self._probe:
                self._open()
            # Any other call was made before the breaker opened, and says nothing new.
            return
        now = self._clock()
        if not self._failures:
            self._first_failure_at = now
        self._failures += 1
        if self._failures >= self._failure_threshold and now - self._first_failure_at >= self._failing_seconds:
            self._open()

    def release(self, call: CircuitCall) -> None:
        """The call ended without saying anything about the remote: another may be the probe."""
        if call is self._probe:
            self._probe = None

    def _open(self) -> None:
        reopened = self._open_until is not None
        self._open_until = self._clock() + self._open_seconds
        self._probe = None
        if not reopened:
            self._report(CircuitState.OPEN)

    def _report(self, state: CircuitState) -> None:
        _log.warning("The circuit breaker of the %s is %s", self._name, state)
        circuit_breaker_changed(self._name, state)


class CircuitCall:
    """One call that was let through. The first outcome counts; a call without one says nothing about the remote."""

    def __init__(self, breaker: CircuitBreaker) -> None:
        self._breaker = breaker
        self._ended = False

    def succeeded(self) -> None:
        """The remote answered, be it with a refusal."""
        if not self._ended:
            self._ended = True
            self._breaker.record_success()

    def failed(self) -> None:
        """The remote did not answer, or said that it cannot."""
        if not self._ended:
            self._ended = True
            self._breaker.record_failure(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._ended:
            self._ended = True
            self._breaker.release(self)
