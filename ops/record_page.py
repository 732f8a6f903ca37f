"""`python -m ops.record_page`: docs/pictures/page*.png, the agent server's page with answers.

The real thing: `python dev.py agent-server`, and questions typed into the page in the Chromium of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

from playwright.async_api import Browser, ViewportSize, async_playwright

from ops.chromium import chromium

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 860}
PHONE: Final[ViewportSize] = {"width": 390, "height": 860}
_SECONDS_TO_START = 400
_MILLISECONDS_TO_ANSWER = 150_000
_WITHOUT_SETTINGS = ("DATABRICKS_", "MLFLOW_", "PG")


@contextlib.asynccontextmanager
async def agent_server(data: str) -> AsyncIterator[str]:
    """The address of its page."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_WITHOUT_SETTINGS)}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.local.agent_server", "--no-browser", "--port", str(port)),
        cwd=ROOT,
        env={**environment, "DATA_DIR": data},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    draining: asyncio.Task[bytes] | None = None
    try:
        output = ""
        async with asyncio.timeout(_SECONDS_TO_START):
            while "Ctrl-C ends everything" not in output:
                line = (await process.stdout.readline()).decode()
                if not line:
                    sys.exit(f"It ended early and said:\n{output}")
                output += line
        page = re.search(r"page\s+(http://\S+)", output)
        if page is None:
            sys.exit(f"There is no page:\n{output}")
        draining = asyncio.create_task(process.stdout.read())
        yield page[1]
    finally:
        process.send_signal(signal.SIGINT)
        if draining is not None:
            await draining
        await process.wait()


async def _picture(
    browser: Browser, address: str, name: str, question: str, size: ViewportSize, scheme: Literal["light", "dark"]
) -> None:
    page = await browser.new_page(viewport=size, color_scheme=scheme)
    page.set_default_timeout(_MILLISECONDS_TO_ANSWER)
    await page.goto(address)
    await page.get_by_label("Your question").fill(question)
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Copy answer").wait_for()
    await page.locator(".answer svg.marks").first.wait_for()
    await page.wait_for_timeout(1_000)
    await page.screenshot(path=PICTURES / f"{name}.png")
    await page.close()


async def main() -> None:
    program = chromium()
    if program is None:
        sys.exit("There is no Chromium on this machine.")
    with TemporaryDirectory() as data:
        async with agent_server(data) as address, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
            await _picture(browser, address, "page", "Show revenue by region", DESKTOP, "light")
            await _picture(browser, address, "page_on_a_phone", "Show orders by year", PHONE, "dark")
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
