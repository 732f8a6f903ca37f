"""A token that expires, renewed before it does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import SecretStr

# msal gives out no token of its own cache in the last five minutes either. A short-lived token is renewed at half time.
_RENEWED_BEFORE_EXPIRY_SECONDS = 300.0
# A token that expires on its way is refused.
_UNUSED_BEFORE_EXPIRY_SECONDS = 30.0
_PAUSE_AFTER_FAILURE_SECONDS = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    value: SecretStr
    lifetime_seconds: float


class RenewingToken:
    """One fetch at a time, in the background as long as the present token can be used: then nobody waits for it.

    `name` is for the log; `fetch` has a time limit of its own.
    """

    def __init__(
        self, name: str, fetch: Callable[[], Awaitable[IssuedToken]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._fetch = fetch
        self._clock = clock
        self._token: str | None = None
        self._renew_at = 0.0
        self._usable_until = 0.0
        self._renewal: asyncio.Task[str] | None = None

    async def get(self) -> str:
        """Raises what `fetch` raises, where there is no token that can be used."""
        if (self._token is None or self._clock() >= self._renew_at) and self._renewal is None:
            self._renewal = asyncio.create_task(self._renew())
            self._renewal.add_done_callback(self._renewal_ended)
        if self._token is not None and self._clock() < self._usable_until:
            return self._token
        assert self._renewal is not None
        # A caller who gives up must not take the token from the others.
        return await asyncio.shield(self._renewal)

    def forget(self, token: str) -> bool:
        """This token was refused, and is not given out again. Whether it was the present one."""
        was_present = self._token == token
        if was_present:
            self._token = None
        return was_present

    async def close(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait([self._renewal])

    async def _renew(self) -> str:
        asked_at = self._clock()
        issued = await self._fetch()
        lifetime = issued.lifetime_seconds
        self._token = issued.value.get_secret_value()
        self._renew_at = asked_at + lifetime - min(_RENEWED_BEFORE_EXPIRY_SECONDS, lifetime / 2)
        self._usable_until = asked_at + lifetime - min(_UNUSED_BEFORE_EXPIRY_SECONDS, lifetime / 4)
        return self._token

    def _renewal_ended(self, task: asyncio.Task[str]) -> None:
        self._renewal = None
        if task.cancelled() or (failure := task.exception()) is None:
            return
        if self._token is not None and self._clock() < self._usable_until:
            # Otherwise a caller waits for it, and hears of it.
            self._renew_at = min(self._clock() + _PAUSE_AFTER_FAILURE_SECONDS, self._usable_until)
            _log.warning("%s could not be renewed in time: %s", self._name, failure)
