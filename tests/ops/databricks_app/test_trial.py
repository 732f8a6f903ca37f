"""The folder's start in an empty place: what is asked, and what is not taken for an answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.databricks_app import AppError, trial
from ops.databricks_app.trial import try_folder

SERVER = """
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULT = os.environ["FAULT"]
COMMIT = "a" * 40
TASK = {"chat": "agent/v1/chat", "none": None}.get(FAULT, "agent/v1/responses")
if FAULT == "does not start":
    sys.exit("ModuleNotFoundError: No module named 'mlflow'")
if FAULT == "ignores SIGTERM":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
assert "DATABRICKS_APP_NAME" not in os.environ, "it would listen on every address"
assert "SECRET_OF_THIS_MACHINE" not in os.environ
assert os.path.realpath(os.getcwd()) == os.path.dirname(os.path.realpath(__file__))

RESPONSE = {"output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}]}
EMPTY = {"output": [{"type": "reasoning"}]}

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments): ...

    def send(self, status, content, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content.encode())

    def do_GET(self):
        if self.path == "/health":
            commit = "b" * 40 if FAULT == "another server" else COMMIT
            return self.send(503 if FAULT == "unhealthy" else 200, json.dumps({"git_commit": commit}))
        if self.path == "/agent/info":
            return self.send(200, json.dumps({"task": TASK}))
        self.send(404 if FAULT == "no page" else 200, "<!doctype html>", "text/html; charset=utf-8")

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if TASK == "agent/v1/chat" and self.path == "/invocations":
            return self.send(200 if "messages" in asked else 400, '{"choices": []}')
        answer = EMPTY if FAULT == "no text" else RESPONSE
        if FAULT == "refuses" and self.path == "/responses":
            return self.send(422, '{"error": {"message": "input must be a list"}}')
        if not asked.get("stream"):
            return self.send(200, json.dumps(answer))
        lines = [": keep-alive", "data: " + json.dumps({"type": "response.created"})]
        if FAULT == "fails in the stream":
            lines.append("data: " + json.dumps({"type": "response.failed", "error": "quota"}))
        elif FAULT != "breaks off":
            lines.append("data: " + json.dumps({"type": "response.completed", "response": answer}))
        if FAULT != "no end":
            lines.append("data: [DONE]")
        self.send(200, "".join(line + "\\n\\n" for line in lines), "text/event-stream")

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


async def no_install(folder: Path, environment: Mapping[str, str]) -> None:
    assert (folder / "server.py").is_file()


async def tried(tmp_path: Path, fault: str) -> list[str]:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "server.py").write_text(SERVER)
    (folder / "build.json").write_text(json.dumps({"commit": "a" * 40}))
    said: list[str] = []
    await try_folder(folder, [sys.executable, "server.py"], {"FAULT": fault}, said.append, no_install)
    assert {each.name for each in folder.iterdir()} == {"server.py", "build.json"}, "it ran elsewhere"
    return [line.split()[0] for line in said]


async def test_both_endpoints_and_the_page_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THIS_MACHINE", "secret")
    monkeypatch.setenv("DATABRICKS_APP_NAME", "another")
    assert await tried(tmp_path, "") == ["installed", "healthy", "/invocations", "/responses", "stopped"]


@pytest.mark.parametrize(("task", "asked"), [("chat", ["/invocations", "/responses"]), ("none", ["/invocations"])])
async def test_an_agent_of_another_task_is_asked_in_its_format(tmp_path: Path, task: str, asked: list[str]) -> None:
    assert await tried(tmp_path, task) == ["installed", "healthy", *asked, "stopped"]


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("does not start", "No module named 'mlflow'"),
        ("unhealthy", "/health is not healthy after 0 s"),
        ("another server", f"/health names the commit {'b' * 40} instead of {'a' * 40}"),
        ("refuses", "/responses answered with status 422: .*input must be a list"),
        ("no text", "/invocations answered without text"),
        ("breaks off", r"/invocations gave no usable answer: the stream ended without response\.completed"),
        ("no end", r"/invocations gave no usable answer: the stream ended without \[DONE\]"),
        ("fails in the stream", "/invocations failed in the stream: .*quota"),
        ("no page", "The page is not served: / answers with status 404"),
    ],
)
async def test_a_server_with_a_fault_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, sentence: str
) -> None:
    if fault == "unhealthy":
        monkeypatch.setattr(trial, "_START_SECONDS", 0.2)
    with pytest.raises(AppError, match=sentence):
        await tried(tmp_path, fault)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no SIGTERM")
async def test_a_server_that_does_not_end_in_time_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.local.processes._STOP_SECONDS", 0.2)
    monkeypatch.setattr(trial, "STOP_SECONDS", 0.1)
    with pytest.raises(AppError, match="did not end within 0 s of SIGTERM"):
        await tried(tmp_path, "ignores SIGTERM")
