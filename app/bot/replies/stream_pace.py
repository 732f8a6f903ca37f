"""When a stream may send: never faster than its channel allows, and only when there is something new."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from app.bot.channel import Streaming

_FIRST_WORDS_SECONDS = 0.05
"""From the first words to the opening of a stream: an answer that ends within it is one message, without a stream."""
_SAVING_SECONDS = 0.012
"""The last part of that, in which the checkpoint is saved."""
_SILENCE_SECONDS = 1.0
"""Without words, a stream is opened after this with the line that says what is being done."""
_EDIT_INTERVAL_SECONDS = 5.0
_MAX_BACK_OFF_OF_END_SECONDS = 30.0


class StreamPace:
    """Times are those of the running loop. `ended` is set when the end of the answer is known; most waits end then."""

    def __init__(self, rules: Streaming) -> None:
        self._rules = rules
        self._news = asyncio.Event()
        self._last_sent_at = -math.inf
        self._closes_at = math.inf
        self._silent_until: float | None = None
        self._opens_at = -math.inf
        self.ended = False

    def opened(self, closes_in_seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self._last_sent_at = max(self._last_sent_at, now - self._rules.interval_seconds)
        self._closes_at = now + closes_in_seconds

    def notify(self) -> None:
        """There may be something new to send."""
        if self._silent_until is None:
            self._silent_until = asyncio.get_running_loop().time() + _SILENCE_SECONDS
        self._news.set()

    def clear(self) -> None:
        """What is new is about to be sent."""
        self._news.clear()

    def sent(self) -> None:
        """The interval counts from the end of a request, so that a delay in the network cannot shorten it."""
        self._last_sent_at = asyncio.get_running_loop().time()

    @property
    def seconds_left(self) -> float:
        """Until the stream has to be closed."""
        return self._closes_at - asyncio.get_running_loop().time()

    @property
    def _interval_left(self) -> float:
        return max(0.0, self._last_sent_at + self._rules.interval_seconds - asyncio.get_running_loop().time())

    async def wait_for_start(self, has_words: Callable[[], bool]) -> None:
        """Returns when there are words to open a stream with, after a second of silence, or at the end."""
        if self._interval_left:
            await self._wait_for_end(self._interval_left)
        while not (self.ended or has_words()):
            self._news.clear()
            try:
                async with asyncio.timeout_at(self._silent_until):
                    await self._news.wait()
            except TimeoutError:
                return
        self._opens_at = asyncio.get_running_loop().time() + _FIRST_WORDS_SECONDS
        await self._wait_for_end(_FIRST_WORDS_SECONDS - _SAVING_SECONDS)

    async def wait_to_open(self) -> None:
        """Returns when the stream may be opened, after its first words were saved; or at the end."""
        left = self._opens_at - asyncio.get_running_loop().time()
        if left > 0:
            await self._wait_for_end(left)
        # Words that came since then are not among those that were saved.
        self.notify()

    async def wait_for_update(self) -> bool:
        """Returns when there may be something to send, or the stream has to be closed; True if nothing is new."""
        await self.wait_for_interval()
        due = min(self._last_sent_at + self._rules.keep_alive_seconds, self._closes_at)
        try:
            async with asyncio.timeout_at(due):
                await self._news.wait()
        except TimeoutError:
            return True
        return False

    async def wait_for_interval(self) -> None:
        """Returns when the channel allows another request of the stream."""
        if self._interval_left:
            await asyncio.sleep(self._interval_left)

    async def wait_for_edit(self) -> None:
        await self._wait_for_end(_EDIT_INTERVAL_SECONDS)

    async def back_off(self, seconds: float | None, *, streaming: bool) -> None:
        """For as long as the channel asks; shorter where the stream has to be closed, or the end has to be sent."""
        seconds = seconds or self._rules.interval_seconds
        until = asyncio.get_running_loop().time() + seconds
        await self._wait_for_end(min(seconds, self.seconds_left) if streaming else seconds)
        if self.ended:
            await asyncio.sleep(min(until - asyncio.get_running_loop().time(), _MAX_BACK_OFF_OF_END_SECONDS))

    async def _wait_for_end(self, seconds: float) -> None:
        """Returns at the end, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while not self.ended:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return
