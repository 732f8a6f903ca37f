"""The command in a process of its own, with files as people write them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest

from agent_server.cli import ModuleError, application, run
from tests.agent_server.http.serving import frames

AGENT = """
import asyncio
from collections.abc import AsyncGenerator

from agent_server.mlflow_config import setup_mlflow
from agent_server.server import create_server, invoke, stream


@stream()
async def streaming(request: dict) -> AsyncGenerator[dict, None]:
    yield {"type": "response.output_text.delta", "item_id": "m1", "delta": "Hello"}
    if "wait" in str(request["input"]):
        await asyncio.Event().wait()
    yield {"type": "response.output_text.delta", "item_id": "m1", "delta": " there"}


def main():
    server = create_server("agent/v1/responses")
    setup_mlflow()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def written(folder: Path, text: str, name: str = "my_agent.py") -> None:
    (folder / name).write_text(text)


@contextmanager
def command(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """In `folder`, as the installed script runs it: the folder is not on the path yet."""
    script = "import sys; from agent_server.cli import command; sys.exit(command())"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "MLFLOW_"))}
    root = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", script, *arguments],
        cwd=folder,
        env={**plain, "PYTHONPATH": root, "AGENT_SERVER_MODULE": "my_agent", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@asynccontextmanager
async def client_of(process: subprocess.Popen[str], port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        for _ in range(300):
            assert process.poll() is None, process.communicate()[0]
            try:
                await client.get("/health")
                break
            except httpx.TransportError:
                await asyncio.sleep(0.05)
        yield client


@pytest.mark.slow
async def test_the_command_serves_a_file_of_ones_own_until_it_is_told_to_stop(tmp_path: Path) -> None:
    written(tmp_path, AGENT)
    port = free_port()
    in_app = {"DATABRICKS_APP_NAME": "agent", "DATABRICKS_APP_PORT": str(port)}
    with command(tmp_path, **in_app) as process:
        async with client_of(process, port) as client:
            client.headers["X-Forwarded-User"] = "ann"
            whole = await client.post("/responses", json={"input": "Hi", "stream": True})
            endless = {"input": "wait", "stream": True}
            async with client.stream("POST", "/api/responses", json=endless) as answer:
                lines = answer.aiter_lines()
                while "Hello" not in await anext(lines):
                    pass
                process.send_signal(signal.SIGTERM)
                told_at = time.monotonic()
                rest = frames("\n".join([line async for line in lines]))
        output, _ = await asyncio.to_thread(process.communicate, timeout=14)
    assert time.monotonic() - told_at < 14
    assert [frame["type"] for frame in frames(whole.text)[-2:-1]] == ["response.completed"]
    assert [frame["type"] for frame in rest[:-1]] == ["error", "response.failed"]
    assert f"[{whole.headers['x-request-id']}] POST responses: 200" in output
    assert f"listens at http://0.0.0.0:{port}" in output
    assert "kept in a file of this instance alone (SQLite)" in output
    assert "Traceback" not in output


@pytest.mark.proof
async def test_with_reload_a_changed_file_is_served(tmp_path: Path) -> None:
    written(tmp_path, AGENT)
    port = free_port()
    with command(tmp_path, "--port", str(port), "--reload") as process:
        async with client_of(process, port) as client:
            before = await client.post("/responses", json={"input": "Hi"})
            written(tmp_path, AGENT.replace("Hello", "Welcome"))
            after = before
            for _ in range(200):
                await asyncio.sleep(0.05)
                try:
                    after = await client.post("/responses", json={"input": "Hi"})
                except httpx.TransportError:
                    continue
                if "Welcome" in after.text:
                    break
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.communicate, timeout=14)
    assert "Hello there" in before.text
    assert "Welcome there" in after.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There is no module"),
        ("x = 1", "has no function main()"),
        ("def main(): pass", "call create_server() once, and it did so 0 times"),
        (
            "from agent_server.server import create_server\ndef main():\n    create_server()\n    create_server()",
            "it did so 2 times",
        ),
    ],
)
def test_a_module_that_cannot_be_served_is_named_in_a_sentence(
    content: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"agent_{abs(hash((content, said)))}"
    if content is not None:
        written(tmp_path, content, f"{name}.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("AGENT_SERVER_MODULE", name)
    with pytest.raises(ModuleError, match=said.replace("(", r"\(").replace(")", r"\)")):
        application()


def test_a_module_that_imports_what_is_not_there_fails_with_that_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "import nothing_of_the_kind", "agent_that_imports.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("AGENT_SERVER_MODULE", "agent_that_imports")
    with pytest.raises(ModuleNotFoundError, match="nothing_of_the_kind"):
        application()


def test_a_port_that_is_taken_is_said_in_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_server.cli.configure_logging", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["--port", str(port)]) == 2
    assert capsys.readouterr().err == f"Port {port} is taken. Choose another: agent-server --port {port + 1}\n"


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "8000.0"])
def test_what_is_no_port_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run([f"--port={port}"])
    assert "a port is a number from 1 to 65535" in capsys.readouterr().err
