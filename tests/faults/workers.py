"""Worker processes: the real function host with the real function app, killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]
# Where no outgoing connection takes its port from.
_PORTS = range(15_000, 30_000)
_SECONDS_TO_START = 60.0
_SECONDS_TO_END = 25.0
_READY = "ready at http"


@dataclass(slots=True)
class Worker:
    """One process; `name` is `<slot>.<generation>`. Times in seconds of the run."""

    name: str
    slot: int
    port: int
    log: Path
    process: Process
    started_at: float
    killed_at: float | None = None
    killed_by: signal.Signals | None = None
    ended_at: float | None = None
    ended_by_itself: bool = True

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/messages"


class Workers:
    """Runs `slots` workers while it is a context; `settings` gives those of the worker of a name, `options` are the
    host's."""

    def __init__(
        self,
        slots: int,
        folder: Path,
        settings: Callable[[str], Mapping[str, str]],
        clock: Callable[[], float],
        *options: str,
    ) -> None:
        self._slots = slots
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._options = options
        self._names = [count(1) for _ in range(slots)]
        self._ports = Random(os.getpid())
        self._killing = asyncio.Lock()
        self._endings: set[asyncio.Task[None]] = set()
        self.current: list[Worker] = []
        self.all: dict[str, Worker] = {}

    async def __aenter__(self) -> Self:
        try:
            for slot in range(self._slots):
                self.current.append(await self._start(slot))
            for worker in self.current:
                await self._ready(worker)
        except BaseException:
            await self._end_all()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end_all()

    async def kill(self, slot: int, how: signal.Signals) -> Worker:
        """Another worker takes its place at once; who is asked to end may take its time."""
        async with self._killing:
            victim = self.current[slot]
            victim.killed_at, victim.killed_by = self._clock(), how
            with suppress(ProcessLookupError):
                victim.process.send_signal(how)
            self.current[slot] = await self._start(slot)
        ending = asyncio.create_task(self._ended(victim))
        self._endings.add(ending)
        return victim

    async def stop(self) -> None:
        """Asks all to end, and waits for it."""
        for worker in self.current:
            if worker.process.returncode is None:
                with suppress(ProcessLookupError):
                    worker.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*self._endings, *(self._ended(worker) for worker in self.current))

    async def _start(self, slot: int) -> Worker:
        name = f"{slot + 1}.{next(self._names[slot])}"
        port = self._free_port()
        log = self._folder / f"worker-{name}.log"
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        environment |= {"AZURE_FUNCTIONS_ENVIRONMENT": "Development", "MicrosoftAppId": "", **self._settings(name)}
        command = ["-m", "app.local", "--port", str(port), "--root", str(ROOT), "--parent", str(os.getpid())]
        command += self._options
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, cwd=ROOT, env=environment, stdin=DEVNULL, stdout=output, stderr=output
            )
        worker = self.all[name] = Worker(name, slot, port, log, process, self._clock())
        return worker

    async def _ready(self, worker: Worker) -> None:
        try:
            async with asyncio.timeout(_SECONDS_TO_START):
                while _READY not in worker.log.read_text():
                    assert worker.process.returncode is None, f"a worker ended at once:\n{worker.log.read_text()}"
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"a worker did not start:\n{worker.log.read_text()}") from None

    async def _ended(self, worker: Worker) -> None:
        try:
            async with asyncio.timeout(_SECONDS_TO_END):
                await worker.process.wait()
        except TimeoutError:
            worker.ended_by_itself = False
            worker.process.kill()
            await worker.process.wait()
        worker.ended_at = self._clock()

    async def _end_all(self) -> None:
        for ending in self._endings:
            ending.cancel()
        for worker in self.all.values():
            if worker.process.returncode is None:
                with suppress(ProcessLookupError):
                    worker.process.kill()
        for worker in self.all.values():
            await worker.process.wait()
        await asyncio.gather(*self._endings, return_exceptions=True)

    def _free_port(self) -> int:
        while True:
            port = self._ports.choice(_PORTS)
            with closing(socket.socket()) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with suppress(OSError):
                    probe.bind(("127.0.0.1", port))
                    return port
