"""Passes of the job watch one after the other, in a process of their own: a container, cron or a notebook's driver."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp
from pydantic import SecretStr

from app.common.http_session import HttpSession

MIN_SECONDS: Final = 10
MAX_SECONDS: Final = 7 * 24 * 3600
STOP_SECONDS: Final = 8.0
"""How long a pass may still take after SIGTERM: Docker kills a container after ten seconds."""

_HEARTBEAT_SECONDS = 10.0
_MIN_PASS_SECONDS = 15 * 60.0
_SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
_log = logging.getLogger(__name__)


def seconds_of(text: str) -> int:
    """The seconds of a length of time such as 90s, 30m, 2h or 1d. Raises `ValueError` with a sentence."""
    found = re.fullmatch(r"(\d{1,7})([smhd])", text.strip().lower())
    seconds = int(found[1]) * _SECONDS_PER_UNIT[found[2]] if found and found[1].isascii() else 0
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise ValueError(f"a length of time is a number and s, m, h or d, such as 30m: from {MIN_SECONDS}s to 7d")
    return seconds


class Heartbeat:
    """Tells a monitor such as healthchecks.io that a pass has ended well: silence is the alarm."""

    def __init__(self, url: SecretStr) -> None:
        self._url = url

    async def beat(self) -> None:
        """Raises nothing: a monitor that cannot be reached raises its own alarm."""
        url = self._url.get_secret_value()
        http = HttpSession(proxy_for=url)
        try:
            async with http.get().get(url, timeout=aiohttp.ClientTimeout(total=_HEARTBEAT_SECONDS)) as response:
                if response.status >= 400:
                    _log.warning("The heartbeat was answered with %d", response.status)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # The address is a secret, and stands in the error.
            _log.warning("The heartbeat could not be sent (%s)", type(error).__name__)
        finally:
            await http.close()


class PassLoop:
    """Awaits `run_pass` every `every_seconds`, one at a time; a pass that fails or hangs does not end the loop.

    `beat` is awaited after each pass that ended well.
    """

    def __init__(
        self,
        run_pass: Callable[[], Awaitable[object]],
        every_seconds: float,
        *,
        beat: Callable[[], Awaitable[None]] | None = None,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._run_pass = run_pass
        self._every_seconds = every_seconds
        self._beat = beat
        self._stop_seconds = stop_seconds
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """`run` returns once the pass at hand has ended; one that takes too long for that is cancelled."""
        self._stopping.set()

    def stop_at_signals(self) -> None:
        """SIGTERM and SIGINT stop the loop, where the system has them."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(number, self.stop)
            except (NotImplementedError, RuntimeError, ValueError):
                _log.info("No handler for %s could be installed", number.name)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        stopping: asyncio.Future[Any] = asyncio.ensure_future(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                began = loop.time()
                await self._one_pass(stopping)
                left = began + self._every_seconds - loop.time()
                if left > 0:
                    await asyncio.wait([stopping], timeout=left)
        finally:
            stopping.cancel()

    async def _one_pass(self, stopping: asyncio.Future[Any]) -> None:
        running: asyncio.Future[Any] = asyncio.ensure_future(self._limited_pass())
        try:
            await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                _log.info("Stopping: the pass at hand may take another %.0f s", self._stop_seconds)
                await asyncio.wait([running], timeout=self._stop_seconds)
        finally:
            if not running.done():
                running.cancel()
                await asyncio.wait([running])
        if not running.cancelled():
            running.result()

    async def _limited_pass(self) -> None:
        try:
            async with asyncio.timeout(max(self._every_seconds, _MIN_PASS_SECONDS)):
                await self._run_pass()
        except Exception:
            _log.exception("A pass of the job watch failed; the next one tries again")
            return
        if self._beat is not None:
            await self._beat()
