"""Runs a module as `python -m` would and writes down each callback that held its event loop: how long, and which.

    python -m benchmarks.loop_watch app.local --port 7071     writes to the file that BENCH_LOOP_WATCH names

Time in which the kernel had given the core to somebody else is not counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NOTED_FROM = 0.005


def watch(path: Path) -> None:
    """Writes one line of JSON for every callback of any event loop that takes longer than NOTED_FROM seconds."""
    run_handle: Callable[[asyncio.Handle], None] = asyncio.Handle._run  # type: ignore[attr-defined]
    waited = _RunQueueWait()
    lines = path.open("a", buffering=1)

    def timed(handle: asyncio.Handle) -> None:
        waited_before, started = waited.seconds(), time.monotonic()
        what = repr(handle) if _is_task_step(handle) else ""
        run_handle(handle)
        held = time.monotonic() - started - (waited.seconds() - waited_before)
        if held > NOTED_FROM:
            lines.write(json.dumps({"at": started, "held": held, "what": what or repr(handle)}) + "\n")

    asyncio.Handle._run = timed  # type: ignore[attr-defined]


def _is_task_step(handle: asyncio.Handle) -> bool:
    """A task's repr says where it stands: before the step is where the blocking code began."""
    return False


class _RunQueueWait:
    """How long the calling thread has been ready to run and was not, since it was born."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def seconds(self) -> float:
        file: int | None = getattr(self._of_thread, "file", None)
        if file is None:
            file = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
            self._of_thread.file = file
        return int(os.pread(file, 96, 0).split()[1]) / 1e9


def main(arguments: list[str]) -> Any:
    watch(Path(os.environ["BENCH_LOOP_WATCH"]))
    module, sys.argv[1:] = arguments[0], arguments[1:]
    return runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
