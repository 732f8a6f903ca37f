"""`python dev.py run`, then a person in the Agents Playground: types, watches the answer grow, gets it whole."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Page, async_playwright

from app.local.lifetime import listen, port_of
from app.local.playground import PACKAGE, installed_playground, start_playground
from app.local.processes import Children
from ops.chromium import chromium

ROOT = Path(__file__).parents[2]
CHROMIUM = chromium()
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip
QUESTION = "What is a data lake, in three sentences?"
# Every text that the newest answer has had, in order.
WATCH = """() => {
  window.seen = [];
  new MutationObserver(() => {
    const text = document.body.innerText;
    if (window.seen.at(-1) !== text) window.seen.push(text);
  }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm to install the Agents Playground with"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


@contextlib.asynccontextmanager
async def everything_running(data: Path) -> AsyncIterator[str]:
    """`dev.py run`, as it is; gives the address of the Playground's page, and ends all of it with Ctrl-C."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "Microsoft"))
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.local.run", "--no-browser", "--port", "0", "--playground-port", "0",
        cwd=ROOT,
        env={**environment, "DATA_DIR": str(data)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(400):
            while "Ctrl-C ends everything" not in said:
                line = (await process.stdout.readline()).decode()
                assert line, f"it ended early and said:\n{said}"
                said += line
        page = re.search(r"playground\s+(http://\S+)", said)
        assert page, said
        draining = asyncio.create_task(process.stdout.read())
        yield page[1]
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            await draining
            assert await process.wait() in {0, 130}, "Ctrl-C did not end it cleanly"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ask(page: Page, question: str) -> None:
    box = page.locator("div[role=textbox][contenteditable=true]").first
    await box.click()
    await box.press_sequentially(question)
    await page.keyboard.press("Enter")


async def test_a_person_types_a_question_and_watches_a_real_model_answer(tmp_path: Path) -> None:
    async with everything_running(tmp_path) as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        await page.goto(address)
        await page.locator("div[role=textbox][contenteditable=true]").first.wait_for(timeout=30_000)
        # The log panel shows the same words; only the chat is to be watched.
        await page.get_by_title("Hide log panel").click()
        await page.evaluate(WATCH)
        await ask(page, QUESTION)
        await page.get_by_text("AI generated").first.wait_for(timeout=60_000)
        pictures = Path(os.environ.get("PLAYGROUND_PICTURE", tmp_path / "playground.png"))
        await page.screenshot(path=pictures)
        seen: list[str] = await page.evaluate("window.seen")
        await browser.close()
    lengths = [len(text) for text in seen]
    growing = sum(1 for earlier, later in itertools.pairwise(lengths) if later > earlier)
    assert growing >= 2, f"the answer did not grow before the person's eyes: {lengths}"


@contextlib.asynccontextmanager
async def playground_alone() -> AsyncIterator[str]:
    """Its page's address; no bot answers there."""
    program = await installed_playground(ROOT / ".data" / "playground")
    with listen(0) as free:
        port = port_of(free)
    async with Children() as children:
        _, address = await start_playground(children, program, "http://127.0.0.1:9/api/messages", port)
        yield address


# What a page reaches of another one on this machine.
ATTACK = """async ({address, script}) => {
  const outcome = async start => {
    const tried = new Promise((resolve, reject) => start(resolve, reject));
    const late = new Promise((_, reject) => setTimeout(reject, 5000));
    return await Promise.race([tried, late]).then(() => "reached", () => "refused");
  };
  return {
    socket: await outcome((reached, refused) => {
      const socket = new WebSocket(address.replace("http", "ws") + "/_ws_conversation/v1/conversations/stream");
      Object.assign(socket, {onopen: reached, onerror: refused});
    }),
    script: await outcome((reached, refused) => {
      const element = document.createElement("script");
      Object.assign(element, {onload: reached, onerror: refused, src: address + script});
      document.body.append(element);
    }),
    fetch: await outcome((reached, refused) => {
      fetch(address + "/_conversation/v1/config").then(answer => answer.text()).then(reached, refused);
    }),
  };
}"""


@contextlib.asynccontextmanager
async def page_of_another_origin() -> AsyncIterator[str]:
    """On this machine only because a test has no other."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><body>Hello</body>", content_type="text/html")

    application = web.Application()
    application.router.add_get("/", page)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
    await runner.setup()
    listener = listen(0)
    await web.SockSite(runner, listener).start()
    try:
        yield f"http://evil.example:{port_of(listener)}/"
    finally:
        await runner.cleanup()


@pytest.mark.proof
async def test_no_other_page_in_the_browser_reaches_the_bot() -> None:
    """Neither from its own origin nor by DNS rebinding, where its name leads to this machine."""
    client = ROOT / ".data/playground/node_modules" / PACKAGE / "dist/client"
    flags = [*FLAGS, "--host-resolver-rules=MAP evil.example 127.0.0.1"]
    async with (
        asyncio.timeout(120),
        playground_alone() as address,
        page_of_another_origin() as elsewhere,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        script = next((client / "static/js").glob("main.*.js")).relative_to(client)
        attack = {"address": address, "script": f"/{script}"}

        own = await browser.new_page()
        await own.goto(address)
        assert set((await own.evaluate(ATTACK, attack)).values()) == {"reached"}, "the attack would prove nothing"

        foreign = await browser.new_page()
        await foreign.goto(elsewhere)
        assert set((await foreign.evaluate(ATTACK, attack)).values()) == {"refused"}

        rebound = await browser.new_page()
        answer = await rebound.goto(address.replace("localhost", "evil.example"))
        assert answer is not None
        assert answer.status == 403
        await browser.close()
