"""Whether what the agent depends on answers: looked at once for all who ask at about the same time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from app.models import model_errors as failures

SECONDS_TO_ANSWER = 5.0
SECONDS_SHARED = 10.0

Check = Callable[[], Awaitable[bool | None]]
"""Raises when the dependency does not answer; False when there is nothing to ask."""

ANSWERS = "answers"
NOT_CHECKED = "not checked"
# The first that fits counts: some of these are kinds of others.
_STATES: tuple[tuple[type[Exception], str], ...] = (
    (failures.MissingCredentialError, "no credential"),
    (failures.SignInError, "refused"),
    (failures.PermissionDeniedError, "refused"),
    (failures.AddressBlockedError, "refused"),
    (failures.UnknownModelError, "not found"),
    (failures.EndpointUnavailableError, "not ready"),
    (failures.RateLimitedError, "busy"),
    (failures.ModelTimeoutError, "timed out"),
    (failures.EndpointUnreachableError, "unreachable"),
    (TimeoutError, "timed out"),
    (PermissionError, "refused"),
    (ConnectionError, "unreachable"),
)

_log = logging.getLogger(__name__)


class Found(NamedTuple):
    """`state` names no resource; `seconds` is how long it took to find out."""

    state: str
    seconds: float

    @property
    def well(self) -> bool:
        return self.state in {ANSWERS, NOT_CHECKED}


class Dependencies:
    """Asks once in `shared_for` seconds, however many want to know; nobody waits longer than `time_limit`."""

    def __init__(
        self,
        checks: Mapping[str, Check],
        *,
        time_limit: float = SECONDS_TO_ANSWER,
        shared_for: float = SECONDS_SHARED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks = checks
        self._time_limit = time_limit
        self._shared_for = shared_for
        self._clock = clock
        self._looking: asyncio.Task[dict[str, Found]] | None = None
        self._look_again_at = 0.0
        self._logged: dict[str, str] = {}

    async def look(self) -> Mapping[str, Found]:
        if self._looking is None or (self._looking.done() and self._clock() >= self._look_again_at):
            self._looking = asyncio.create_task(self._look_at_all())
        # Who leaves must not take the answer away from the others.
        return await asyncio.shield(self._looking)

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
            self._looking = None

    async def _look_at_all(self) -> dict[str, Found]:
        found = await asyncio.gather(*(self._look_at(name, check) for name, check in self._checks.items()))
        self._look_again_at = self._clock() + self._shared_for
        return dict(zip(self._checks, found, strict=True))

    async def _look_at(self, name: str, check: Check) -> Found:
        started = self._clock()
        failure: Exception | None = None
        try:
            async with asyncio.timeout(self._time_limit):
                state = NOT_CHECKED if await check() is False else ANSWERS
        except Exception as error:
            failure, state = error, state_of(error)
        self._log_change(name, state, failure)
        return Found(state, round(self._clock() - started, 3))

    def _log_change(self, name: str, state: str, failure: Exception | None) -> None:
        """Only a change, so that a poller does not fill the log during an outage."""
        before = self._logged.get(name)
        self._logged[name] = state
        if state == before:
            return
        if failure is not None:
            _log.warning("Health: %s: %s (%s: %s)", name, state, type(failure).__name__, failure)
        elif before is not None:
            _log.info("Health: %s: %s", name, state)


def state_of(failure: Exception) -> str:
    return next((state for kind, state in _STATES if isinstance(failure, kind)), "failed")
