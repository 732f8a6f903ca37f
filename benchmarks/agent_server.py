"""`python -m benchmarks.agent_server [--seconds 60] [--streams 200] [names]`: concurrent streams of a hundred deltas,
over bare FastAPI, MLflow's AgentServer, and our server: as it is, traced in the background, and with responses that are
kept in SQLite and in PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT, SubjectError, free_port

_OURS = ("-c", "import sys; from agent_server.cli import command; sys.exit(command())")
# Within this the last traces are written.
_WRITTEN_SECONDS = 5.0
_QUESTION = {"input": [{"role": "user", "content": "How?"}], "stream": True}


@dataclass(frozen=True, slots=True)
class Subject:
    """`ready` is what its log says when it can be measured, where that is not the port. With `postgres` it is given the
    `DATABASE_URL` of a PostgreSQL of its own, whose processes count for none of its figures.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] = field(default_factory=dict)
    ready: str = ""
    postgres: bool = False


_MODULE = {"AGENT_SERVER_MODULE": "benchmarks.agent_servers.our_agent"}
# Answers that end are still being closed while the next begin.
_KEEPING = {**_MODULE, "AGENT_SERVER_MAX_CONCURRENT_ANSWERS": "1000"}
SUBJECTS = (
    Subject("fastapi", ("-m", "benchmarks.agent_servers.bare_fastapi")),
    Subject("mlflow", ("-m", "benchmarks.agent_servers.mlflow_server")),
    Subject("ours", _OURS, _MODULE),
    Subject("traced", _OURS, {**_MODULE, "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}, ready="Requests are traced in"),
    # In SQLite.
    Subject("stored", _OURS, _KEEPING, {"store": True}),
    Subject("postgres", _OURS, _KEEPING, {"store": True}, postgres=True),
)


@dataclass(frozen=True, slots=True)
class Figures:
    streams: int
    errors: int
    cpu_ms: float
    first_event_p95_ms: float
    peak_memory_mb: float


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.agent_server", description=__doc__)
    arguments.add_argument("names", nargs="*", help="of: " + ", ".join(each.name for each in SUBJECTS))
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--streams", type=int, default=200)
    given = arguments.parse_args()
    measured: dict[str, Figures] = {}
    print(f"{'':10}{'streams':>9}{'errors':>8}{'CPU ms':>9}{'first event p95 ms':>20}{'memory MB':>11}")
    for subject in SUBJECTS:
        if given.names and subject.name not in given.names:
            continue
        figures = measured[subject.name] = _measure(subject, given.streams, given.seconds)
        print(
            f"{subject.name:10}{figures.streams:9}{figures.errors:8}{figures.cpu_ms:9.1f}"
            f"{figures.first_event_p95_ms:20.0f}{figures.peak_memory_mb:11.0f}",
            flush=True,
        )
    return _judge(measured)


def _judge(measured: Mapping[str, Figures]) -> int:
    failed = any(figures.errors for figures in measured.values())
    if {"fastapi", "ours"} <= measured.keys():
        ratio = measured["ours"].cpu_ms / measured["fastapi"].cpu_ms
        failed |= ratio > 2.2
        print(f"untraced: {ratio:.2f} times bare FastAPI's CPU (budget 2.2)")
    if {"ours", "traced"} <= measured.keys():
        added = measured["traced"].cpu_ms - measured["ours"].cpu_ms
        failed |= added > 6.0
        print(f"traced in the background: {added:+.1f} ms CPU a stream (budget 6)")
    return int(failed)


def _measure(subject: Subject, streams: int, seconds: float) -> Figures:
    with _running(subject) as (process, port):
        body = json.dumps({**_QUESTION, **subject.body})
        url = f"http://127.0.0.1:{port}/responses"
        # What is imported and made once is not a stream's cost.
        _ask(url, min(streams, 10), 1.0, body)
        time.sleep(_WRITTEN_SECONDS)
        before = _cpu_seconds(process.pid)
        asked = _ask(url, streams, seconds, body)
        # What is written in the background belongs to it.
        time.sleep(_WRITTEN_SECONDS)
        used = _cpu_seconds(process.pid) - before
        answered = asked["answered"]
        if asked["error_count"]:
            print(f"  {subject.name}: {asked['errors']}")
        return Figures(
            answered,
            asked["error_count"],
            used * 1000 / max(answered, 1),
            asked["p95"] * 1000,
            _peak_memory_mb(process.pid),
        )


@contextmanager
def _running(subject: Subject) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        (Path(folder) / "log").open("wb") as log,
        _database(subject) as database,
    ):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DATA_DIR": folder, **subject.environment, **database}
        process = subprocess.Popen(
            [sys.executable, *subject.command, "--port", str(port)], cwd=folder, env=environment, stdout=log, stderr=log
        )
        try:
            _wait(process, port, Path(folder) / "log", subject.ready)
            yield process, port
        finally:
            process.terminate()
            process.wait(timeout=20)


@contextmanager
def _database(subject: Subject) -> Iterator[Mapping[str, str]]:
    if not subject.postgres:
        yield {}
        return
    from tests.fakes.postgres import Postgres, programs

    folder = programs()
    if folder is None:
        raise SubjectError("there is no PostgreSQL on this machine")
    with Postgres(folder) as running:
        yield {"DATABASE_URL": running.url}


def _wait(process: subprocess.Popen[bytes], port: int, log: Path, ready: str) -> None:
    ends = time.monotonic() + 120
    while time.monotonic() < ends and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                if ready in log.read_text(errors="replace"):
                    return
                time.sleep(0.1)
        except OSError:
            time.sleep(0.1)
    raise SubjectError(log.read_text(errors="replace")[-3000:])


def _ask(url: str, streams: int, seconds: float, body: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.agent_servers.ask", url, str(streams), str(seconds), body]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def _cpu_seconds(pid: int) -> float:
    return time.clock_gettime(~pid << 3 | 2)


def _peak_memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    sys.exit(main())
