"""How Genie is looked at until it has ended: with growing pauses, and over looks that fail."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from app.databricks.workspace_errors import (
    WorkspaceInterruptedError,
    WorkspaceRateLimitError,
    WorkspaceUnavailableError,
    WorkspaceUnreachableError,
)

_log = logging.getLogger(__name__)

# Genie asks for one look in one to five seconds.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0
_MAX_FAILED_LOOKS = 5
_PASSING = (
    *(WorkspaceUnavailableError, WorkspaceInterruptedError),
    *(WorkspaceUnreachableError, WorkspaceRateLimitError),
)

T = TypeVar("T")


def pauses_seconds() -> Iterator[float]:
    """Between looks, without end."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


async def look(get: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[object]]) -> T:
    """What `get` returns. While looks fail, Genie goes on: only the fifth failure in a row is raised."""
    for _ in range(_MAX_FAILED_LOOKS - 1):
        try:
            return await get()
        except _PASSING as error:
            _log.info("A look at Genie failed (%s); it is looked again", type(error).__name__)
        await sleep(_LONGEST_PAUSE_SECONDS)
    return await get()
