"""Awaits several things at once, such that none goes on alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


async def gather_or_cancel(coroutines: Iterable[Coroutine[Any, Any, _Result]]) -> list[_Result]:
    """The results in order. As `asyncio.gather`, but where one raises, the others are cancelled and awaited first."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in coroutines]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def end_task(task: asyncio.Task[Any], what: str, *, grace_seconds: float = 5.0) -> None:
    """Cancels it where it still runs, and waits for its end; one that does not end, or fails, is logged as `what`."""
    if task.done():
        return
    task.cancel()
    await asyncio.wait({task}, timeout=grace_seconds)
    if not task.done():
        _log.error("%s still runs though it was cancelled %g seconds ago", what, grace_seconds)
    elif not task.cancelled() and (error := task.exception()) is not None:
        _log.warning("%s failed when it was cancelled", what, exc_info=error)
