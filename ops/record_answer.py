"""`python -m ops.record_answer`: docs/answer.gif, the moving picture of the README, and what stands still in it.

The real thing: `python dev.py run`, and questions about its sample data typed into the Agents Playground in the
Chromium of this machine. What a slow machine took longer for is shown faster, and the last line says how much.
"""

from __future__ import annotations

import asyncio
import io
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from PIL import Image
from playwright.async_api import Page, ViewportSize, async_playwright

from ops.chromium import chromium
from ops.local_page import PICTURES, ROOT, local_page

PICTURE = ROOT / "docs" / "answer.gif"
# Each question, and the name of the picture of its answer.
QUESTIONS = (("How did revenue develop by month?", "revenue_by_month"), ("as a pie chart", "revenue_as_a_pie"))
VIEWPORT: Final[ViewportSize] = {"width": 1280, "height": 860}
SCALE = 1
SECONDS_BETWEEN_FRAMES = 0.2
SECONDS_AT_THE_END = 4.0
SECONDS_TO_LOOK = 3.0
LONGEST_SECONDS = 20.0
_SECONDS_TO_ANSWER = 150
_COLORS = 64
_BOX = "div[role=textbox][contenteditable=true]"


def playground(data: str) -> AbstractAsyncContextManager[str]:
    """The address of its page."""
    arguments = ("--no-browser", "--port", "0", "--playground-port", "0")
    return local_page(data, "app.local.run", *arguments, name="playground")


async def _frames(page: Page, until: asyncio.Task[None]) -> list[tuple[float, bytes]]:
    """Screenshots with the seconds at which they were made, until a while after `until` has ended."""
    frames = []
    last = None
    while last is None or time.monotonic() < last:
        if until.done() and last is None:
            last = time.monotonic() + 1
        frames.append((time.monotonic(), await page.screenshot()))
        await asyncio.sleep(SECONDS_BETWEEN_FRAMES)
    return frames


async def _ask(page: Page) -> None:
    box = page.locator(_BOX).first
    for number, (question, picture) in enumerate(QUESTIONS):
        await box.click()
        await box.press_sequentially(question, delay=50)
        await page.keyboard.press("Enter")
        card = page.locator(".ac-adaptiveCard").nth(number)
        await card.locator("svg").first.wait_for(timeout=_SECONDS_TO_ANSWER * 1000)
        # The end of the answer is in view: the buttons below the table.
        await asyncio.sleep(1)
        asked = page.get_by_text(question, exact=True).last
        await asked.evaluate("asked => asked.scrollIntoView({block: 'start'})")
        await asyncio.sleep(SECONDS_TO_LOOK)
        await page.screenshot(path=PICTURES / f"{picture}.png")


def _write(frames: list[tuple[float, bytes]], file: Path) -> None:
    images = [Image.open(io.BytesIO(png)).convert("RGB") for _, png in frames]
    # One palette for all, of the last frame, which has every color: what did not change stays the same pixels.
    palette = images[-1].quantize(_COLORS, dither=Image.Dither.NONE)
    images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    whole = frames[-1][0] - frames[0][0]
    faster = max(1.0, whole / LONGEST_SECONDS)
    kept, milliseconds, since = [images[0]], [], frames[0][0]
    for (at, _), image in zip(frames[1:], images[1:], strict=True):
        if (at - since) / faster >= SECONDS_BETWEEN_FRAMES / 2 or image is images[-1]:
            milliseconds.append(int((at - since) * 1000 / faster))
            kept.append(image)
            since = at
    milliseconds.append(int(SECONDS_AT_THE_END * 1000))
    kept[0].save(file, save_all=True, append_images=kept[1:], duration=milliseconds, loop=0, optimize=False)
    print(f"{whole:.0f} s, shown {faster:.1f} times faster")


async def main() -> None:
    program = chromium()
    with TemporaryDirectory() as data:
        async with playground(data) as address, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
            page = await browser.new_page(viewport=VIEWPORT, device_scale_factor=SCALE, reduced_motion="reduce")
            await page.goto(address)
            await page.locator(_BOX).first.wait_for(timeout=_SECONDS_TO_ANSWER * 1000)
            await page.get_by_title("Hide log panel").click()
            asking = asyncio.create_task(_ask(page))
            frames = await _frames(page, asking)
            await browser.close()
    _write(frames, PICTURE)
    await asking
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} KB, {len(frames)} frames")


if __name__ == "__main__":
    asyncio.run(main())
