"""Starts the folder in an empty place with nothing but its requirements, and asks it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import aiohttp

from app.common.http_body import json_object
from app.local.processes import Child, ChildFailedError, Children
from app.version import read_git_commit
from ops.databricks_app import AppError
from ops.package.archive import BUILD_FILE

_INSTALL_SECONDS = 900.0
_START_SECONDS = 60.0
_ANSWER_SECONDS = 120.0
# https://docs.databricks.com/aws/en/dev-tools/databricks-apps/best-practices
STOP_SECONDS = 14.0
_QUESTION = "Hello"
_RESPONSES = "agent/v1/responses"
_PASSED_ON = (
    "PATH",
    "HOME",
    "USERPROFILE",
    "SYSTEMROOT",
    "LOCALAPPDATA",
    "APPDATA",
    "TEMP",
    "TMP",
    "LANG",
    "SSL_CERT_FILE",
)
_PASSED_ON_PREFIXES = ("UV_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

_Answer = TypeVar("_Answer")

Install = Callable[[Path, Mapping[str, str]], Awaitable[None]]
"""Installs the requirements of a folder, with these environment variables."""


async def try_folder(
    folder: Path,
    command: Sequence[str],
    workspace: Mapping[str, str],
    say: Callable[[str], object],
    install: Install | None = None,
) -> None:
    """Installs, starts, asks and stops a copy of `folder`. `workspace` are the settings of a model.

    Raises `AppError`.
    """
    with TemporaryDirectory(prefix="agent-server-") as temporary:
        copy = Path(temporary) / "app"
        shutil.copytree(folder, copy)
        environment = {**_bare_environment(), **workspace, "DATA_DIR": str(Path(temporary) / "data")}
        started = time.monotonic()
        await (install or _install)(copy, environment)
        say(f"  installed    in {time.monotonic() - started:.1f} s")
        async with _running(copy, command, environment, say) as url:
            await _ask_everything(url, say)


def _bare_environment() -> dict[str, str]:
    """No setting of this machine, and nothing of this program's own environment."""
    kept = {name: value for name, value in os.environ.items() if name.upper() in _PASSED_ON}
    kept |= {name: value for name, value in os.environ.items() if name.upper().startswith(_PASSED_ON_PREFIXES)}
    for name in ("UV_PROJECT_ENVIRONMENT", "UV_PYTHON"):
        kept.pop(name, None)
    return kept


async def _install(folder: Path, environment: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uv", "sync", "--frozen", "--quiet"),
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _INSTALL_SECONDS)
    except TimeoutError:
        raise AppError(f"uv sync did not end within {_INSTALL_SECONDS:.0f} s.") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise AppError(f"uv sync failed:\n{output.decode(errors='replace').strip()}")


@asynccontextmanager
async def _running(
    folder: Path, command: Sequence[str], environment: Mapping[str, str], say: Callable[[str], object]
) -> AsyncIterator[str]:
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    program = [sys.executable, "-m", "uv", *command[1:]] if command[0] == "uv" else list(command)
    try:
        async with Children() as children:
            started = time.monotonic()
            server = await children.start(
                "The agent server",
                [*program, "--port", str(port)],
                ready=r"(?!)",
                environment=dict(environment),
                folder=folder,
            )
            await _wait_for_health(server, url, read_git_commit(folder / BUILD_FILE))
            say(f"  healthy      after {time.monotonic() - started:.1f} s")
            yield url
            stopping = time.monotonic()
            await children.stop_one(server)
            seconds = time.monotonic() - stopping
    except ChildFailedError as error:
        raise AppError(str(error)) from None
    if seconds > STOP_SECONDS:
        raise AppError(f"It did not end within {STOP_SECONDS:.0f} s of SIGTERM; Databricks kills it after 15.")
    say(f"  stopped      in {seconds:.1f} s after SIGTERM")


async def _wait_for_health(server: Child, url: str, commit: str) -> None:
    assert server.ended
    ends = time.monotonic() + _START_SECONDS
    said = "no answer"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        while not server.ended.done():
            try:
                async with session.get(f"{url}/health") as response:
                    text = await response.text()
                    said = f"status {response.status}: {text[:300]}"
                    if response.status == 200:
                        _check_commit(text, commit)
                        return
            except (aiohttp.ClientError, TimeoutError) as error:
                said = str(error) or type(error).__name__
            if time.monotonic() > ends:
                raise AppError(f"{url}/health is not healthy after {_START_SECONDS:.0f} s ({said}).")
            await asyncio.sleep(0.1)
    raise ChildFailedError(server.failure_text())


def _check_commit(health: str, commit: str) -> None:
    found = (json_object(health) or {}).get("git_commit")
    if commit not in {"local", "unknown", found}:
        raise AppError(f"/health names the commit {found} instead of {commit}: it is another server, or not this code.")


async def _ask_everything(url: str, say: Callable[[str], object]) -> None:
    """Both endpoints and the page. `/invocations` has the format of the agent's task, `/responses` always its own."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    question = [{"role": "user", "content": _QUESTION}]
    async with aiohttp.ClientSession(url, timeout=timeout) as session:
        task = await _task(session)
        if task != _RESPONSES:
            body = {"messages": question} if task else {"input": question}
            await _unless_broken("/invocations", _json(session, "/invocations", body))
            say(f"  {'/invocations':<13}answers")
        for path in ("/invocations", "/responses") if task == _RESPONSES else ("/responses",) if task else ():
            text = output_text(await _unless_broken(path, _json(session, path, {"input": question})))
            streamed = await _unless_broken(path, _streamed_text(session, path, {"input": question, "stream": True}))
            if not text or not streamed:
                raise AppError(f"{path} answered without text.")
            say(f"  {path:<13}answers, also as a stream")
        async with session.get("/") as response:
            if response.status != 200 or "text/html" not in response.headers.get("Content-Type", ""):
                raise AppError(f"The page is not served: / answers with status {response.status}.")


async def _task(session: aiohttp.ClientSession) -> str:
    async with session.get("/agent/info") as response:
        return str((await response.json(content_type=None)).get("task") or "")


async def _unless_broken(path: str, answer: Awaitable[_Answer]) -> _Answer:
    try:
        return await answer
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise AppError(f"{path} gave no usable answer: {error or type(error).__name__}") from None


async def _json(session: aiohttp.ClientSession, path: str, body: object) -> dict[str, Any]:
    async with session.post(path, json=body) as response:
        if response.status != 200:
            raise AppError(f"{path} answered with status {response.status}: {(await response.text())[:500]}")
        answer: dict[str, Any] = await response.json(content_type=None)
        return answer


async def _streamed_text(session: aiohttp.ClientSession, path: str, body: object) -> str:
    """The text of the completed response. Raises ValueError where the stream breaks off."""
    async with session.post(path, json=body) as response:
        if response.status != 200:
            raise AppError(f"{path} answered with status {response.status}: {(await response.text())[:500]}")
        completed: dict[str, Any] | None = None
        async for raw in response.content:
            line = raw.decode().strip()
            if line == "data: [DONE]":
                if completed is None:
                    raise ValueError("the stream ended without response.completed")
                return output_text(completed)
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                if event.get("type") == "response.completed":
                    completed = event["response"]
                elif event.get("type") in {"error", "response.failed"}:
                    raise AppError(f"{path} failed in the stream: {line[:500]}")
    raise ValueError("the stream ended without [DONE]")


def output_text(response: Mapping[str, Any]) -> str:
    """The text of a response's messages."""
    return "".join(
        part.get("text", "")
        for item in response.get("output", ())
        if item.get("type") == "message"
        for part in item.get("content", ())
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
