"""dev.py agent-server: the server on this machine, as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from app.local.agent_server import summary
from benchmarks.process import free_port
from tests.fakes.serving_endpoint import TOKEN, ServingEndpoint
from tests.ops.files.deployments import ROOT

STAND_IN = {"DATABRICKS_MODEL_NAME": "smollm2"}
OWN = {"DATABRICKS_MODEL_NAME": "model", "DATABRICKS_BASE_URL": "https://workspace/serving-endpoints"}


def test_it_says_where_the_page_is_and_who_answers() -> None:
    lines = "\n".join(summary("http://127.0.0.1:8000", STAND_IN, stand_in=True, page=True))
    assert "page    http://127.0.0.1:8000\n" in lines
    assert "smollm2, a stand-in workspace on this machine" in lines
    assert "curl http://127.0.0.1:8000/responses -H" in lines
    lines = "\n".join(summary("http://127.0.0.1:8000", OWN, stand_in=False, page=False))
    assert "model, at https://workspace/serving-endpoints" in lines
    assert "not built: it needs Node.js" in lines
    assert "How did revenue develop by month?: the answer" not in lines


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the signals of a terminal")
async def test_it_serves_the_configured_workspace_until_ctrl_c(tmp_path: Path) -> None:
    async with ServingEndpoint() as endpoint:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "MLFLOW_"))},
            **{
                "DATABRICKS_BASE_URL": endpoint.base_url,
                "DATABRICKS_MODEL_NAME": endpoint.name,
                "DATABRICKS_TOKEN": TOKEN,
            },
            "PYTHONPATH": str(ROOT),
        }
        port = free_port()
        # Another root than the repository: there is no page to build.
        command = [sys.executable, "-m", "app.local.agent_server", "--port", str(port), "--no-browser"]
        process = await asyncio.create_subprocess_exec(
            *command, "--root", str(tmp_path), cwd=ROOT, env=environment, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(60):
                while b"Ctrl-C" not in (line := await process.stdout.readline()):
                    assert line, "it ended"
                async with (
                    aiohttp.ClientSession() as session,
                    session.post(f"http://127.0.0.1:{port}/responses", json={"input": "Why?"}) as answer,
                ):
                    assert answer.status == 200
                    assert (await answer.json())["status"] == "completed"
                process.send_signal(signal.SIGINT)
                rest = (await process.stdout.read()).decode()
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert "Stopping ...\n" in rest
    assert (tmp_path / ".data" / "agent-server").is_dir()
