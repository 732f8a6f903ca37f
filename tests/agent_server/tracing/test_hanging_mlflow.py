"""MLflow in a workspace that takes no traces any more: nothing waits for it, not even the end of the process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from tests.fakes.azurite import free_port

ROOT = Path(__file__).resolve().parents[3]
_COMMAND = "import sys; from agent_server.cli import command; sys.exit(command())"
_START_SECONDS = 180.0


class Workspace:
    """`url` of a workspace with one experiment; a trace that is sent to it gets no answer until `released`."""

    def __init__(self) -> None:
        self.got_trace = Event()
        self.released = Event()
        workspace = self

        class Answers(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path.endswith("/mlflow/traces"):
                    workspace.got_trace.set()
                    workspace.released.wait(120)
                path = self.path.partition("?")[0]
                experiment = {
                    "experiment_id": "7",
                    "name": "x",
                    "lifecycle_stage": "active",
                    "artifact_location": "dbfs:/x",
                }
                found: dict[str, Any] = {"experiment": experiment} if path.endswith("experiments/get") else {}
                body = json.dumps(found or {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}).encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                with suppress(OSError):
                    self.end_headers()
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815 - as the library calls them

            def log_message(self, *arguments: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            self.released.set()
            self._server.shutdown()
            self._server.server_close()


@pytest.mark.proof
def test_answers_and_the_end_of_the_process_wait_for_no_trace(tmp_path: Path, own_agent: str) -> None:
    workspace, port = Workspace(), free_port()
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
        "HOME": str(tmp_path),
        "AGENT_SERVER_MODULE": own_agent,
        "DATA_DIR": str(tmp_path / "data"),
        "DATABRICKS_HOST": workspace.url,
        "DATABRICKS_TOKEN": "dapi0",
        "MLFLOW_TRACKING_URI": "databricks",
        "MLFLOW_EXPERIMENT_ID": "7",
    }
    log = tmp_path / "log"
    with workspace.running(), log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, "--port", str(port)],
            cwd=tmp_path,
            env=environment,
            stdout=output,
            stderr=output,
        )
        try:
            _await(lambda: b"Traces are not linked" in log.read_bytes() and b"listens at" in log.read_bytes(), log)
            answer = {}
            while not workspace.got_trace.wait(3):
                answer = httpx.post(f"http://127.0.0.1:{port}/responses", json={"input": "Why?"}, timeout=30).json()
                assert process.poll() is None, log.read_text()
            assert answer["status"] == "completed"
            process.send_signal(signal.SIGTERM)
            stopping = time.monotonic()
            process.wait(30)
        finally:
            process.kill()
            process.wait()
    assert time.monotonic() - stopping < 14, log.read_text()


def _await(holds: Any, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not holds():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
