"""MLflow's own tracking server on SQLite, installed once into .data/ from tests/mlflow_server/requirements.txt.

Only what its REST API needs: this environment has the rest. To renew the lock:
`uv pip compile tests/mlflow_server/requirements.in --no-deps --universal --python-version 3.11 --generate-hashes
--no-header --no-annotate --no-emit-index-url --no-emit-find-links -o tests/mlflow_server/requirements.txt`
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

ROOT = Path(__file__).resolve().parents[2]
_LOCK = ROOT / "tests/mlflow_server/requirements.txt"
_INSTALL_SECONDS = 300
_START_SECONDS = 120.0
_SERVE = """
from werkzeug.serving import make_server
from mlflow.server import app
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


def _installed() -> Path:
    """Skips the test where it cannot be installed."""
    digest = hashlib.sha256(_LOCK.read_bytes() + sys.version.encode()).hexdigest()
    folder = ROOT / ".data" / f"mlflow-{digest[:12]}"
    if folder.is_dir():
        return folder
    # Into a folder of its own first: what was interrupted is never taken for whole.
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    options = ["--require-hashes", "--no-deps", "--quiet", "--target", str(fresh), "-r", str(_LOCK)]
    command = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
    if ended.returncode:
        pytest.skip(f"MLflow's tracking server could not be installed: {ended.stderr[-300:]}")
    with suppress(OSError):
        fresh.rename(folder)
    shutil.rmtree(fresh, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class MlflowServer:
    url: str
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self.session.request(method, f"{self.url}/api/3.0/mlflow/{path}", json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def start_trace(self) -> str:
        """The id of a new trace, as an agent writes one."""
        trace_id = f"tr-{uuid.uuid4().hex}"
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
        when = {"request_time": "2026-11-27T10:00:00Z", "execution_duration": "1.5s", "state": "OK"}
        info = {"trace_id": trace_id, "trace_location": place, **when}
        await self.ask("POST", "traces", {"trace": {"trace_info": info}})
        return trace_id

    async def assessments(self, trace_id: str) -> list[Any]:
        told = await self.ask("GET", f"traces/{trace_id}")
        return list(told["trace"]["trace_info"].get("assessments") or ())


@asynccontextmanager
async def an_mlflow_server(folder: Path) -> AsyncIterator[MlflowServer]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(await asyncio.to_thread(_installed)),
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder / "artifacts"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _SERVE), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            port = int(await process.stdout.readline())
        async with aiohttp.ClientSession() as session:
            yield MlflowServer(f"http://127.0.0.1:{port}", session)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
