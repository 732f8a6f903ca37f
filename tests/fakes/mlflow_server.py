"""MLflow's own tracking server on SQLite."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

_START_SECONDS = 120.0
_SERVE = """
from werkzeug.serving import make_server
from mlflow.server import app
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


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
