"""A plain typing activity, renewed until it is stopped: a sign of life that opens no stream."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from app.bot.connector.send_errors import ChannelUnreachableError, SendError, ThrottledError
from app.bot.rendering import activities
from app.bot.replies.activity_sender import ActivitySender

# Seconds. Teams shows it for about five.
_RENEWED_EVERY = 4.0
# What follows a typing activity is not to arrive before it; but nobody waits long for a channel that is slow.
_LONGEST_LEFT_TO_ARRIVE = 0.05


class TypingIndicator:
    """Owns one task between `start` and `stop`. A failure to show it is nobody's concern."""

    def __init__(self, sender: ActivitySender) -> None:
        self._sender = sender
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Does nothing while it is shown already. The first activity goes out as soon as another task may run."""
        if self._task is None:
            self._stopping.clear()
            self._task = asyncio.create_task(self._show())

    async def stop(self) -> None:
        """Safe at any time, and more than once. What is on its way is left a moment to arrive."""
        if self._task is None:
            return
        self._stopping.set()
        try:
            await asyncio.wait([self._task], timeout=_LONGEST_LEFT_TO_ARRIVE)
        finally:
            self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None

    async def _show(self) -> None:
        while not self._stopping.is_set():
            wait = _RENEWED_EVERY
            try:
                await self._sender.post(activities.typing(), retry=False)
            except ThrottledError as throttled:
                wait = max(wait, throttled.retry_after_seconds or 0.0)
            except ChannelUnreachableError:
                pass
            except SendError:
                # Refused for good.
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stopping.wait()
