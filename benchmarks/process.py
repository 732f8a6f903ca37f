"""Starts a subject, and reads its CPU time and memory from the kernel. Linux only: /proc, CPU clocks, affinity."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.load_records import LoadPlan, LoadRun

ROOT = Path(__file__).parent.parent
_SETTINGS = (
    "DATABRICKS_",
    "Microsoft",
    "MICROSOFT",
    "OPENAI_",
    "SYSTEM_PROMPT",
    "AZURE",
    "Azure",
    "WEBSITE_",
    "PYTHON",
)


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that answers at /api/messages; `module` is run with `--port N`, behind `wrapper` if there is one."""

    name: str
    module: str
    wrapper: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        package = self.module if self.module.startswith("benchmarks.") else f"{self.module}.__main__"
        return importlib.util.find_spec(package) is not None


FLOOR = Subject("floor", "benchmarks.floor")
PLAIN = Subject("plain bot", "benchmarks.plain_bot")
OURS = Subject("ours", "app.local")
SUBJECTS = (FLOOR, PLAIN, OURS)


class Fakes:
    """The process with the model endpoint, the connector and the load driver."""

    def __init__(self, port: int) -> None:
        self.port = port

    def run(self, plan: LoadPlan) -> LoadRun:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/control/run",
            data=json.dumps(asdict(plan)).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=600) as response:
            return LoadRun.from_json(json.load(response))


class RunningSubject:
    """A running subject."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, started: float, log: Path, fakes: Fakes) -> None:
        self._process = process
        self._fakes = fakes
        self._log = log
        self.port = port
        self.started = started

    def run(self, plan: LoadPlan) -> LoadRun:
        """Asks what `plan` says. Raises SubjectError, with the end of the log, if any turn stays unanswered."""
        run = self._fakes.run(replace(plan, target=f"http://127.0.0.1:{self.port}/api/messages"))
        unanswered = [turn for turn in run.turns if not turn.answered]
        if unanswered:
            turn = unanswered[0]
            said = [(send.type, send.text[:200]) for send in turn.sends]
            raise SubjectError(
                f"{len(unanswered)} of {len(run.turns)} turns were not answered; first: status {turn.status}, "
                f"sent {said}\n{self.log_end()}"
            )
        return run

    def log_end(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]

    def wait_until_listening(self, limit: float = 60.0) -> None:
        ends = time.monotonic() + limit
        while time.monotonic() < ends and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
                return
            time.sleep(0.02)
        raise SubjectError(f"never listened on port {self.port}\n{self.log_end()}")

    def cpu_seconds(self) -> float:
        """User and system time so far, of the process and its children, exact to the scheduler's own clock."""
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self._processes())

    def peak_memory_mb(self) -> float:
        """The most that was ever resident, of the process and its children, in MB of 1024 * 1024."""
        return sum(_status_kb(pid, "VmHWM") for pid in self._processes()) / 1024

    def _processes(self) -> list[int]:
        found, open_ = [], [self._process.pid]
        while open_:
            pid = open_.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                open_ += map(int, children.read_text().split())
        return found


class SubjectError(Exception):
    """A subject did not start or did not answer, so it has no figures."""


@contextlib.contextmanager
def running_fakes() -> Iterator[Fakes]:
    command = [sys.executable, "-m", "benchmarks.fakes"]
    # In a session of its own, because Ctrl-C is handled by this process, which ends it by closing its input.
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Fakes(int(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(timeout=10)


@contextlib.contextmanager
def running(
    subject: Subject,
    fakes: Fakes,
    *,
    environment: Mapping[str, str] | None = None,
    core: int | None = None,
    wait: bool = True,
) -> Iterator[RunningSubject]:
    """Starts `subject`, on one core if `core` is given, and ends it. Its state and its log go to a temporary folder."""
    port = free_port()
    command = [sys.executable, *(("-m", *subject.wrapper) if subject.wrapper else ("-m",)), subject.module]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, (Path(folder) / "log").open("wb") as log:
        started = time.monotonic()
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=ROOT,
            env=_environment(fakes, folder) | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: _tie_to_parent(core),
        )
        bot = RunningSubject(process, port, started, Path(folder) / "log", fakes)
        try:
            if wait:
                bot.wait_until_listening()
            yield bot
        finally:
            _end(process)


def _environment(fakes: Fakes, folder: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    return kept | {
        "DATABRICKS_BASE_URL": f"http://127.0.0.1:{fakes.port}/serving-endpoints",
        "DATABRICKS_MODEL_NAME": "databricks-benchmark",
        "DATABRICKS_TOKEN": "x",
        "DATA_DIR": folder,
    }


def _tie_to_parent(core: int | None) -> None:
    """Runs in the child process: it ends with its parent, and stays on its core."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
    if core is not None:
        os.sched_setaffinity(0, {core})


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _status_kb(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
