"""Runs a module as `python -m` would and writes down each callback that held its event loop: how long, and where it stood.

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
import traceback
from collections.abc import Callable
from pathlib import Path

NOTED_FROM = 0.005
_LOOKED_AT_AFTER = 0.008


def watch(path: Path) -> None:
    """Writes one line of JSON for every callback of any event loop that takes longer than NOTED_FROM seconds."""
    run_handle: Callable[[asyncio.Handle], None] = asyncio.Handle._run  # type: ignore[attr-defined]
    waited, onlooker = _RunQueueWait(), _Onlooker()
    lines = path.open("a", buffering=1)

    def timed(handle: asyncio.Handle) -> None:
        waited_before, started = waited.seconds(), time.monotonic()
        onlooker.starts(started)
        run_handle(handle)
        held = time.monotonic() - started - (waited.seconds() - waited_before)
        where = onlooker.ends()
        if held > NOTED_FROM:
            lines.write(json.dumps({"at": started, "held": held, "where": where or repr(handle)[:300]}) + "\n")

    asyncio.Handle._run = timed  # type: ignore[attr-defined]
    threading.Thread(target=onlooker.look, daemon=True, name="loop-watch").start()


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


class _Onlooker:
    """Looks from another thread at what a slow callback is doing."""

    def __init__(self) -> None:
        self._running: tuple[float, int] | None = None
        self._seen = ""

    def starts(self, at: float) -> None:
        self._seen = ""
        self._running = (at, threading.get_ident())

    def ends(self) -> str:
        self._running = None
        return self._seen

    def look(self) -> None:
        while True:
            time.sleep(0.002)
            running = self._running
            if running is None or self._seen or time.monotonic() - running[0] < _LOOKED_AT_AFTER:
                continue
            frame = sys._current_frames().get(running[1])
            lines = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_stack(frame)]
            self._seen = " < ".join(line for line in reversed(lines) if not line.startswith("<frozen"))[:600]


def main(arguments: list[str]) -> None:
    watch(Path(os.environ["BENCH_LOOP_WATCH"]))
    module, sys.argv[1:] = arguments[0], arguments[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
