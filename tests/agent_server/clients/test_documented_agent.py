"""The file in docs/agent-server.md, as a newcomer saves and serves it."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import subprocess
from pathlib import Path

import openai
import pytest

from tests.agent_server.http.serving import frames
from tests.agent_server.test_cli import client_of, command, free_port, written

PAGE = Path(__file__).parents[3] / "docs" / "agent-server.md"

# As it was asked for, without the bodies.
ASKED_FOR = """
from agent_server.mlflow_config import setup_mlflow
from agent_server.server import create_server, invoke, stream

@invoke()
async def non_streaming(request: dict) -> dict: ...

@stream()
async def streaming(request: dict) -> AsyncGenerator[dict, None]: ...

def main():  # called in the pyproject.toml `agent-server` script
    server = create_server()  # optionally a task type like "agent/v1/responses"
    setup_mlflow()
"""


def documented_file() -> str:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if "@invoke" in block)


def documented_curl_lines() -> list[str]:
    return re.findall(r"^curl .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def curl(line: str, port: int) -> str:
    arguments = shlex.split(line.replace("127.0.0.1:8000", f"127.0.0.1:{port}"))
    ended = subprocess.run([*arguments, "--silent", "--fail"], capture_output=True, text=True, timeout=20)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_documented_file_is_word_for_word_what_was_asked_for_but_for_the_bodies() -> None:
    # The formatter puts two empty lines where there was one.
    before_main, main = documented_file().replace("\n\n\n", "\n\n").split("def main()")
    without_bodies = re.sub(r":\n(?: {4}.*\n)+", ": ...\n", before_main)
    assert f"{without_bodies}def main(){main}".strip() == ASKED_FOR.strip()


@pytest.mark.slow
async def test_the_documented_file_is_served_and_answers_every_client(tmp_path: Path) -> None:
    written(tmp_path, documented_file())
    port = free_port()
    with command(tmp_path, "--port", str(port)) as process:
        async with client_of(process, port) as client:
            whole = await client.post("/invocations", json={"input": "Hello"})
            streamed = await client.post("/invocations", json={"input": "Hello", "stream": True})
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", timeout=20) as asking:
            response = await asking.responses.create(model="agent", input="Hello")
            async with asking.responses.stream(model="agent", input="Hello") as stream:
                final = await stream.get_final_response()
        said = [await asyncio.to_thread(curl, line, port) for line in documented_curl_lines()]
        process.send_signal(signal.SIGTERM)
        output, _ = await asyncio.to_thread(process.communicate, timeout=14)
    assert whole.json()["output"][0]["content"][0]["text"] == "You asked: Hello"
    assert [frame["delta"] for frame in frames(streamed.text)[:-1]] == ["You ", "asked: ", "Hello"]
    assert response.output_text.startswith("You asked: [{")
    assert final.output_text == response.output_text
    assert "You asked: Hello" in said[0]
    assert [frame["type"] for frame in frames(said[1])[:-1]][-1] == "response.completed"
    assert "Traceback" not in output
