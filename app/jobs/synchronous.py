"""Asynchronous code for callers that are not, such as a notebook, where an event loop may run already."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def run_synchronously(make: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """Runs what `make` returns in an event loop of its own, in a thread of its own if this one has a running loop."""
    if asyncio._get_running_loop() is None:
        return asyncio.run(make())
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="job-watch") as thread:
        return thread.submit(contextvars.copy_context().run, lambda: asyncio.run(make())).result()
