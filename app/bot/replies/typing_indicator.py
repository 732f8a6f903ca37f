"""Shows that somebody is typing, with plain typing activities: they open no stream."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from app.bot.connector.send_errors import ChannelUnreachableError, SendError, ThrottledError
from app.bot.rendering import activities
from app.bot.replies.activity_sender import ActivitySender

# Teams shows each for about five seconds.
_INTERVAL_SECONDS = 4.0
# So that the typing activity on its way arrives before the message that follows it.
_STOP_SECONDS = 0.05


class TypingIndicator:
    """Owns one task between `start` and `stop`. That typing cannot be shown is not reported."""

    def __init__(self, sender: ActivitySender) -> None:
        self._sender = sender
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Does nothing if it is started already."""
        if self._task is None:
            self._stopping.clear()
            self._task = asyncio.create_task(self._show())

    async def stop(self) -> None:
        """Safe at any time, and more than once. An activity on its way has a moment to arrive."""
        if self._task is None:
            return
        self._stopping.set()
        try:
            await asyncio.wait([self._task], timeout=_STOP_SECONDS)
        finally:
            self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None

    async def _show(self) -> None:
        while not self._stopping.is_set():
            wait = _INTERVAL_SECONDS
            try:
                await self._sender.post(activities.typing(), retry=False)
            except ThrottledError as throttled:
                wait = max(wait, throttled.retry_after_seconds or 0.0)
            except ChannelUnreachableError:
                pass
            except SendError:
                # It would be refused again.
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stopping.wait()
