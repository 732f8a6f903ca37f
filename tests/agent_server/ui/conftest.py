"""The built page in Chromium, in front of the agent server with a scripted agent. Each test is another person."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from aiohttp import web
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from ops.chromium import chromium
from ops.databricks_app.page import build_page
from tests.agent_server.ui.apps_proxy import AppsProxy
from tests.agent_server.ui.scripted_agent import GO_ON
from tests.fakes.file_lock import locked

ROOT = Path(__file__).parents[3]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip
_START_SECONDS = 60
# The machine may be busy.
_EXPECT_MILLISECONDS = 15_000

Result = TypeVar("Result")


@pytest.fixture(scope="session")
def built_page() -> Path:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to build the page with")
    # The tests of another process may be building it.
    with locked(ROOT / ".data" / "page.lock"):
        assert build_page(ROOT, print)
    return ROOT / "agent_server" / "ui" / "dist"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    expect.set_options(timeout=_EXPECT_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@dataclass(frozen=True)
class ServerProcess:
    address: str
    go_on: Path


@pytest.fixture(scope="module")
def server_process(built_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("agent-server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "MLFLOW_", "PG"))}
    environment = {
        **kept,
        GO_ON: str(folder),
        "DATA_DIR": str(folder / "data"),
        "DATABRICKS_APP_NAME": "agent",
        "DATABRICKS_BASE_URL": "http://127.0.0.1:9/serving-endpoints",
        "DATABRICKS_TOKEN": "not-asked",
        "DATABRICKS_MODEL_NAME": "not-asked",
    }
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.agent_server.ui.scripted_agent", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        until = time.monotonic() + _START_SECONDS
        while not _is_up(address):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield ServerProcess(address, folder)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _is_up(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").is_success
    except httpx.TransportError:
        return False


class Background:
    """An event loop in a thread of its own, for a proxy beside tests that block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="apps-proxy")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=20)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=20)
        self._loop.close()


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    background = Background()
    yield background
    background.close()


@dataclass(frozen=True)
class Running:
    """The server as one person reaches it."""

    proxy: AppsProxy
    address: str
    go_on: Path

    def release(self, name: str) -> None:
        """Lets the answer to "wait for NAME" go on."""
        (self.go_on / name).touch()

    def ask(self, question: str) -> None:
        """In a conversation of its own, to its end."""
        with httpx.Client(base_url=f"{self.address}api/", timeout=20) as client:
            made = client.post("conversations", json={}).json()["id"]
            client.post("responses", json={"input": question, "conversation": made}).raise_for_status()

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.address}api/{path}", timeout=20).raise_for_status().json()

    def turns(self) -> list[Any]:
        """Of the person's only conversation."""
        (conversation,) = self.get("conversations")["conversations"]
        turns: list[Any] = self.get(f"conversations/{conversation['id']}")["turns"]
        return turns


@pytest.fixture
def running(server_process: ServerProcess, background: Background, request: pytest.FixtureRequest) -> Iterator[Running]:
    proxy = AppsProxy(server_process.address, owner=f"person-{abs(hash(request.node.nodeid))}")
    runner = web.AppRunner(proxy.application(), handler_cancellation=True, shutdown_timeout=0.1)

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/"

    yield Running(proxy, background.run(start()), server_process.go_on)
    background.run(runner.cleanup())


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, running: Running, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """Opens the page in a new browser; the test fails where the page broke the policy or raised."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def open_(path: str = "", *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(_EXPECT_MILLISECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
        page.goto(running.address + path)
        return page

    yield open_
    if pictures := os.environ.get("PAGE_PICTURES"):
        for context in contexts:
            context.pages[0].screenshot(path=Path(pictures) / f"{request.node.name}.png")
    for context in contexts:
        context.close()
    assert not faults
