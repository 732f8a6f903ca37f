"""`python -m ops.record_page`: docs/pictures/page*.png, the agent server's page with answers.

The real thing: `python dev.py agent-server`, and questions typed into the page in the Chromium of this machine.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import AbstractAsyncContextManager
from tempfile import TemporaryDirectory
from typing import Final, Literal

from playwright.async_api import Browser, ViewportSize, async_playwright

from ops.chromium import chromium
from ops.local_page import PICTURES, local_page

DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 860}
PHONE: Final[ViewportSize] = {"width": 390, "height": 860}
_MILLISECONDS_TO_ANSWER = 150_000


def agent_server(data: str) -> AbstractAsyncContextManager[str]:
    """The address of its page."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return local_page(data, "app.local.agent_server", "--no-browser", "--port", str(port), name="page")


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
