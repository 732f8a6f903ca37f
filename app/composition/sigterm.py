"""SIGTERM, which ends a worker of Azure Functions at once unless somebody listens for it.

https://github.com/Azure/azure-functions-python-worker/issues/578
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)

# In seconds: the platform's own patience is not documented.
SHUTDOWN_GRACE_SECONDS = 8.0


class StopSignal:
    """Lets `close` come first; the process ends by the signal all the same."""

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close
        self._listens = False
        self._ending: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """On the running loop, once. Where signals cannot be listened to, work is resumed when its lease ends."""
        if self._listens:
            return
        self._listens = True
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGTERM, self._received, loop)
        except (NotImplementedError, RuntimeError, ValueError) as error:
            _log.info("Nobody listens for SIGTERM here (%s)", type(error).__name__)

    def _received(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._ending is None:
            self._ending = loop.create_task(self._end(loop))

    async def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        _log.info("SIGTERM: running turns are handed over")
        try:
            async with asyncio.timeout(SHUTDOWN_GRACE_SECONDS):
                await self._close()
        except Exception:
            _log.exception("The worker did not close cleanly")
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
