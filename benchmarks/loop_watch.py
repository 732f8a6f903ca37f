"""Runs a module as `python -m` would and records what blocked its event loop: for how long, and in which code.

    python -m benchmarks.loop_watch app.local --port 7071     writes to the file that BENCH_LOOP_WATCH names

A "callback" blocked the loop itself; a 5 ms "tick" that came late shows all delays together, those of the interpreter
lock among them. Time in which the kernel ran other processes on the core is not counted.
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
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

RECORDED_FROM_SECONDS = 0.001
TICK_SECONDS = 0.005
_SAMPLED_AFTER_SECONDS = 0.008


def watch(path: Path) -> None:
    """Writes a line of JSON for each callback that takes, or tick that is late by, at least RECORDED_FROM_SECONDS."""
    run_handle: Callable[[asyncio.Handle], None] = asyncio.Handle._run
    waited, sampler = _RunQueueWait(), _StackSampler()
    lines = path.open("a", buffering=1)

    def note(kind: str, at: float, held: float, where: str) -> None:
        if held > RECORDED_FROM_SECONDS:
            lines.write(json.dumps({"kind": kind, "at": at, "held": held, "where": where}) + "\n")

    def timed(handle: asyncio.Handle) -> None:
        waited_before, started = waited.seconds(), time.monotonic()
        sampler.starts(started)
        run_handle(handle)
        held = time.monotonic() - started - (waited.seconds() - waited_before)
        where = sampler.ends()
        if held > RECORDED_FROM_SECONDS:
            note("callback", started, held, where or repr(handle)[:300])

    setattr(asyncio.Handle, "_run", timed)  # noqa: B010  (typeshed says that it is not to be replaced)
    _tick_in_every_loop(waited, note)
    threading.Thread(target=sampler.sample, daemon=True, name="loop-watch").start()


def _tick_in_every_loop(waited: _RunQueueWait, note: Callable[[str, float, float, str], None]) -> None:
    run_forever = asyncio.BaseEventLoop.run_forever

    def run_and_tick(loop: asyncio.BaseEventLoop) -> None:
        def tick(due: float, waited_before: float) -> None:
            now = time.monotonic()
            note("tick", due, now - due - (waited.seconds() - waited_before), "")
            loop.call_at(now + TICK_SECONDS, tick, now + TICK_SECONDS, waited.seconds())

        loop.call_soon(tick, time.monotonic(), waited.seconds())
        run_forever(loop)

    setattr(asyncio.BaseEventLoop, "run_forever", run_and_tick)  # noqa: B010


class _RunQueueWait:
    """How long the calling thread has waited for a core, since its start."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def seconds(self) -> float:
        file: int | None = getattr(self._of_thread, "file", None)
        if file is None:
            file = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
            self._of_thread.file = file
        return int(os.pread(file, 96, 0).split()[1]) / 1e9


@dataclass(frozen=True, slots=True)
class LoopDelay:
    """One line of the file. `held` in seconds, `at` on the monotonic clock; `where` is empty for a tick."""

    kind: str
    at: float
    held: float
    where: str


class _StackSampler:
    """Takes the stack of a slow callback, from another thread."""

    def __init__(self) -> None:
        self._running: tuple[float, int] | None = None
        self._seen = ""

    def starts(self, at: float) -> None:
        self._seen = ""
        self._running = (at, threading.get_ident())

    def ends(self) -> str:
        self._running = None
        return self._seen

    def sample(self) -> None:
        while True:
            time.sleep(0.002)
            running = self._running
            if running is None or self._seen or time.monotonic() - running[0] < _SAMPLED_AFTER_SECONDS:
                continue
            self._seen = _stack(sys._current_frames().get(running[1]))


def _stack(frame: FrameType | None) -> str:
    """Innermost first. Without `traceback`, which reads the source files and would come too late."""
    found: list[str] = []
    while frame is not None and len(found) < 40:
        code = frame.f_code
        if not code.co_filename.startswith("<frozen"):
            found.append(f"{code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " < ".join(found)


def main(arguments: list[str]) -> None:
    watch(Path(os.environ["BENCH_LOOP_WATCH"]))
    module, sys.argv[1:] = arguments[0], arguments[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
