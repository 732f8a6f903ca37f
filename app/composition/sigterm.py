"""SIGTERM ends a worker of Azure Functions at once unless a handler is installed for it.

https://github.com/Azure/azure-functions-python-worker/issues/578
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)

SHUTDOWN_GRACE_SECONDS = 8.0
"""How long the platform waits before it kills the process is not documented."""


class SigtermHandler:
    """Awaits `close`, for a limited time, then ends the process by the same signal."""

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close = close
        self._installed = False
        self._closing: asyncio.Task[None] | None = None

    def install(self) -> None:
        """On the running loop, once. Where that is impossible, turns are resumed elsewhere when their leases end."""
        if self._installed:
            return
        self._installed = True
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGTERM, self._received, loop)
        except (NotImplementedError, RuntimeError, ValueError) as error:
            _log.info("No SIGTERM handler could be installed (%s)", type(error).__name__)

    def _received(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._closing is None:
            self._closing = loop.create_task(self._close_and_end(loop))

    async def _close_and_end(self, loop: asyncio.AbstractEventLoop) -> None:
        _log.info("SIGTERM: running turns are handed over")
        try:
            async with asyncio.timeout(SHUTDOWN_GRACE_SECONDS):
                await self._close()
        except Exception:
            _log.exception("The worker did not close cleanly")
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
