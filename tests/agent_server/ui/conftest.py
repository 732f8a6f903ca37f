"""The built page in Chromium, in front of `PageServer`. Each test has its own server, and its own browser's storage."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ops.chromium import chromium
from ops.databricks_app.page import build_page
from tests.agent_server.ui.page_server import PageServer

ROOT = Path(__file__).parents[3]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip


@pytest.fixture(scope="session")
def built_page() -> Path:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to build the page with")
    assert build_page(ROOT, print)
    return ROOT / "agent_server" / "ui" / "dist"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Background:
    """An event loop in a thread of its own, for a server beside tests that block."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="page-server")
        self.thread.start()

    def run(self, work: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(timeout=20)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(timeout=20)
        self.loop.close()


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    background = Background()
    yield background
    background.close()


@dataclass
class Running:
    server: PageServer
    address: str
    background: Background

    def release(self) -> None:
        """Lets answers that wait go on."""
        self.background.loop.call_soon_threadsafe(self.server.go_on.set)


@pytest.fixture
def running(built_page: Path, background: Background) -> Iterator[Running]:
    server = PageServer(built_page)
    runner = web.AppRunner(server.application(), handler_cancellation=True, shutdown_timeout=0.1)

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/"

    yield Running(server, background.run(start()), background)
    background.run(server.close())
    background.run(runner.cleanup())


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, running: Running, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """Opens the page in a new browser; the test fails where the page broke the policy or raised."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def open_(path: str = "", *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(10_000)
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
