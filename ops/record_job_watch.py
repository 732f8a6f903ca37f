"""`python -m ops.record_job_watch`: docs/pictures/job_approved.png.

The real thing, as `python dev.py run` shows it: a job of the stand-in workspace has failed, its card comes, Approve is
pressed, and the chat is told that the job has recovered.
"""

from __future__ import annotations

import asyncio
from tempfile import TemporaryDirectory
from typing import Final

from playwright.async_api import ViewportSize, async_playwright

from ops.chromium import chromium
from ops.local_page import PICTURES
from ops.record_answer import playground

PICTURE = PICTURES / "job_approved.png"
_VIEWPORT: Final[ViewportSize] = {"width": 1280, "height": 1240}
_BOX = "div[role=textbox][contenteditable=true]"
_MILLISECONDS_TO_WAIT = 150_000


async def main() -> None:
    with TemporaryDirectory() as data:
        async with playground(data) as address, async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
            )
            page = await browser.new_page(viewport=_VIEWPORT, reduced_motion="reduce")
            page.set_default_timeout(_MILLISECONDS_TO_WAIT)
            await page.goto(address)
            box = page.locator(_BOX).first
            await box.wait_for()
            await page.get_by_title("Hide log panel").click()
            await box.click()
            await box.press_sequentially("/watch nightly_etl")
            await page.keyboard.press("Enter")
            await page.get_by_role("button", name="Approve").last.click()
            await page.get_by_text("has recovered").last.wait_for()
            await asyncio.sleep(1)
            await page.screenshot(path=PICTURE)
            await browser.close()
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    asyncio.run(main())
