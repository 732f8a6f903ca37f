"""Whether what the agent depends on answers. One check serves all requests of the same few seconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from app.models import model_errors
from app.resilience.circuit_breaker import CircuitOpenError

TIME_LIMIT_SECONDS = 5.0
SHARED_SECONDS = 10.0

Check = Callable[[], Awaitable[bool | None]]
"""Raises when the dependency does not answer; False when there is nothing to check."""

ANSWERS = "answers"
NOT_CHECKED = "not checked"
# The first that fits counts: some of these are kinds of others.
_STATES: tuple[tuple[type[Exception], str], ...] = (
    (CircuitOpenError, "circuit open"),
    (model_errors.MissingCredentialError, "no credential"),
    (model_errors.SignInError, "refused"),
    (model_errors.PermissionDeniedError, "refused"),
    (model_errors.AddressBlockedError, "refused"),
    (model_errors.UnknownModelError, "not found"),
    (model_errors.EndpointUnavailableError, "not ready"),
    (model_errors.RateLimitedError, "busy"),
    (model_errors.ModelTimeoutError, "timed out"),
    (model_errors.EndpointUnreachableError, "unreachable"),
    (TimeoutError, "timed out"),
    (PermissionError, "refused"),
    (ConnectionError, "unreachable"),
)

_log = logging.getLogger(__name__)


class CheckResult(NamedTuple):
    """`state` names no resource; `seconds` is how long the check took."""

    state: str
    seconds: float

    @property
    def healthy(self) -> bool:
        return self.state in {ANSWERS, NOT_CHECKED}


class DependencyChecks:
    """Checks once in `shared_for` seconds, however many ask; no check takes longer than `time_limit`, in seconds."""

    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        time_limit_seconds: float = TIME_LIMIT_SECONDS,
        shared_for: float = SHARED_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks = checks
        self._time_limit_seconds = time_limit_seconds
        self._shared_for = shared_for
        self._clock = clock
        self._checking: asyncio.Task[dict[str, CheckResult]] | None = None
        self._check_again_at = 0.0
        self._last_states: dict[str, str] = {}

    async def check(self) -> Mapping[str, CheckResult]:
        if self._checking is None or (self._checking.done() and self._clock() >= self._check_again_at):
            self._checking = asyncio.create_task(self._check_all())
        # A caller that leaves must not cancel the check that others wait for.
        return await asyncio.shield(self._checking)

    async def close(self) -> None:
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait([self._checking])
            self._checking = None

    async def _check_all(self) -> dict[str, CheckResult]:
        results = await asyncio.gather(*(self._check_one(name, check) for name, check in self._checks.items()))
        self._check_again_at = self._clock() + self._shared_for
        return dict(zip(self._checks, results, strict=True))

    async def _check_one(self, name: str, check: Check) -> CheckResult:
        started = self._clock()
        failure: Exception | None = None
        try:
            async with asyncio.timeout(self._time_limit_seconds):
                state = NOT_CHECKED if await check() is False else ANSWERS
        except Exception as error:
            failure, state = error, state_of(error)
        self._log_change(name, state, failure)
        return CheckResult(state, round(self._clock() - started, 3))

    def _log_change(self, name: str, state: str, failure: Exception | None) -> None:
        """Logs only changes, so that polling does not fill the log during an outage."""
        before = self._last_states.get(name)
        self._last_states[name] = state
        if state == before:
            return
        if failure is not None:
            _log.warning("Health: %s: %s (%s: %s)", name, state, type(failure).__name__, failure)
        elif before is not None:
            _log.info("Health: %s: %s", name, state)


def state_of(failure: Exception) -> str:
    return next((state for kind, state in _STATES if isinstance(failure, kind)), "failed")
