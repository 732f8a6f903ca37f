"""When a stream may send: never faster than its channel allows, and not at all while there is nothing new."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from app.bot.channel import Streaming

# All in seconds.
_FIRST_WORDS = 0.05
"""In which the first words come together: an answer that is whole by then needs no stream, and so waits for none."""
_TO_KEEP_THEM = 0.012
"""Of that, the last part, in which they are written down."""
_SILENCE = 1.0
"""After which a stream begins with the line that says what is being done."""
_EDIT_EVERY = 5.0
_LONGEST_PAUSE_AT_THE_END = 30.0


class StreamPace:
    """Times are those of the running loop. `ended` is set with the last of the news."""

    def __init__(self, rules: Streaming) -> None:
        self._rules = rules
        self._news = asyncio.Event()
        self._last_sent_at = -math.inf
        self._closes_at = math.inf
        self._silent_until: float | None = None
        self._opens_at = -math.inf
        self.ended = False

    def open(self, closes_in: float) -> None:
        now = asyncio.get_running_loop().time()
        self._last_sent_at = max(self._last_sent_at, now - self._rules.interval)
        self._closes_at = now + closes_in

    def news(self) -> None:
        if self._silent_until is None:
            self._silent_until = asyncio.get_running_loop().time() + _SILENCE
        self._news.set()

    def looked_at(self) -> None:
        self._news.clear()

    def sent(self) -> None:
        """Counted from the end of the request, so that no delay on the way brings two updates closer together."""
        self._last_sent_at = asyncio.get_running_loop().time()

    @property
    def time_left(self) -> float:
        """Until the stream has to be closed."""
        return self._closes_at - asyncio.get_running_loop().time()

    @property
    def _wait(self) -> float:
        return max(0.0, self._last_sent_at + self._rules.interval - asyncio.get_running_loop().time())

    async def beginning(self, has_words: Callable[[], bool]) -> None:
        """Returns when there is something to open a stream with, words or a silence to be explained; or at the end."""
        if self._wait:
            await self._end_within(self._wait)
        while not (self.ended or has_words()):
            self._news.clear()
            try:
                async with asyncio.timeout_at(self._silent_until):
                    await self._news.wait()
            except TimeoutError:
                return
        self._opens_at = asyncio.get_running_loop().time() + _FIRST_WORDS
        await self._end_within(_FIRST_WORDS - _TO_KEEP_THEM)

    async def opening(self) -> None:
        """Returns when a stream may be opened with what has been kept, or at the end."""
        left = self._opens_at - asyncio.get_running_loop().time()
        if left > 0:
            await self._end_within(left)
        # Words that came meanwhile are not among those that were kept.
        self.news()

    async def next_update(self) -> bool:
        """Returns when there may be something to send, or the stream has to be closed; whether nothing is new."""
        await self.next_request()
        due = min(self._last_sent_at + self._rules.keep_alive, self._closes_at)
        try:
            async with asyncio.timeout_at(due):
                await self._news.wait()
        except TimeoutError:
            return True
        return False

    async def next_request(self) -> None:
        """Returns when the channel takes another request of the stream."""
        if self._wait:
            await asyncio.sleep(self._wait)

    async def next_edit(self) -> None:
        await self._end_within(_EDIT_EVERY)

    async def pause(self, seconds: float | None, *, streaming: bool) -> None:
        """As long as the channel asks for, but neither the close of the stream nor the end waits for ever."""
        seconds = seconds or self._rules.interval
        until = asyncio.get_running_loop().time() + seconds
        await self._end_within(min(seconds, self.time_left) if streaming else seconds)
        if self.ended:
            await asyncio.sleep(min(until - asyncio.get_running_loop().time(), _LONGEST_PAUSE_AT_THE_END))

    async def _end_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not self.ended:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return
