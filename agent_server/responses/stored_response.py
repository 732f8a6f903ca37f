"""A response that is being made, as its caller holds it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from agent_server.responses.event_log import ResponseEvents


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """`response` is the Response object at its beginning."""

    id: str
    response: dict[str, Any]
    _follow: Callable[[], AsyncGenerator[ResponseEvents, None]]
    _cancel: Callable[[], Awaitable[object]]

    def events(self) -> AsyncGenerator[ResponseEvents, None]:
        """All of its events, from `response.created` on, as they come together."""
        return self._follow()

    async def finished(self) -> dict[str, Any]:
        """The Response object at its end."""
        response = self.response
        async with aclosing(self._follow()) as batches:
            async for events in batches:
                for event in events:
                    response = event.get("response", response)
        return response

    async def cancel(self) -> None:
        await self._cancel()
