"""Child processes that are stopped with this one, and whose early end is noticed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

_KEPT_LINES = 20
_STOP_SECONDS = 15.0


class ChildFailedError(Exception):
    """A child ended, or never got ready; `str()` says which and quotes its last lines."""


class Child:
    def __init__(self, name: str, process: asyncio.subprocess.Process, ready: re.Pattern[str]) -> None:
        self.name = name
        self._process = process
        self._pattern = ready
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._ready: asyncio.Future[re.Match[str]] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Task[None] | None = None

    def watch(self, show: Callable[[str], object] | None) -> None:
        self.ended = asyncio.create_task(self._read(show))

    async def _read(self, show: Callable[[str], object] | None) -> None:
        assert self._process.stdout
        with suppress(ValueError):  # a line that is longer than `limit`
            async for raw in self._process.stdout:
                line = raw.decode(errors="replace").rstrip()
                found = self._pattern.search(line)
                if found and not self._ready.done():
                    self._ready.set_result(found)
                    continue
                if show:
                    show(line)
                else:
                    self._lines.append(line)
        await self._process.wait()

    async def ready(self, seconds: float) -> re.Match[str]:
        """Waits for the line that announces readiness. Raises `ChildFailedError`."""
        assert self.ended
        either: list[asyncio.Future[Any]] = [self._ready, self.ended]
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._ready.done():
            return self._ready.result()
        raise ChildFailedError(
            self.failure_text() if self.ended.done() else f"{self.name} was not ready within {seconds:.0f} s"
        )

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    def failure_text(self) -> str:
        """How the child ended, with its last lines where they have not been shown."""
        quoted = "".join(f"\n  {line}" for line in self._lines)
        return f"{self.name} ended with exit code {self._process.returncode}." + (
            f" It said:{quoted}" if quoted else ""
        )

    async def stop(self) -> None:
        assert self.ended
        if not self.ended.done():
            self._send(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
            await asyncio.wait([self.ended], timeout=_STOP_SECONDS)
        self.kill()
        await self.ended

    def kill(self) -> None:
        if self._process.returncode is None:
            self._send(getattr(signal, "SIGKILL", signal.SIGTERM))

    def _send(self, number: int) -> None:
        """To the child and the processes that it has started."""
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)


class Children:
    """Stops every child when the context ends, the last one started first."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    async def __aenter__(self) -> Children:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            await child.stop()

    async def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: str,
        environment: Mapping[str, str] | None = None,
        show: Callable[[str], object] | None = None,
        folder: Path | None = None,
    ) -> Child:
        """`ready` is a pattern for the line that announces readiness; `show` gets every other line. Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            limit=1024 * 1024,
            # A process group of its own: Ctrl-C reaches this process alone, which stops the children in order.
            start_new_session=os.name == "posix",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        child = Child(name, process, re.compile(ready))
        child.watch(show)
        self._children.append(child)
        return child

    async def stop_one(self, child: Child) -> None:
        """Stops it; the others keep running."""
        await child.stop()
        self._children.remove(child)

    async def first_to_end(self) -> Child:
        ended = {child.ended: child for child in self._children if child.ended}
        done, _ = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        return ended[done.pop()]

    def kill(self) -> None:
        for child in self._children:
            child.kill()
