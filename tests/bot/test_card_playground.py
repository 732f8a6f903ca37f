"""Golden cards in the Agents Playground, which draws charts as Teams does. CARD_PICTURES=<folder> keeps pictures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from playwright.async_api import async_playwright

from app.local.lifetime import listen, port_of
from app.local.playground import installed_playground, start_playground
from app.local.processes import Children
from ops.chromium import chromium

ROOT = Path(__file__).parents[2]
CARDS = ROOT / "tests" / "golden" / "blocks"
CHROMIUM = chromium()
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm to install the Agents Playground with"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


async def answer_with_card(request: web.Request) -> web.Response:
    """A bot that answers the name of a golden card with that card."""
    asked: dict[str, Any] = await request.json()
    if asked.get("type") == "message" and asked.get("text"):
        card = json.loads((CARDS / f"{asked['text'].strip()}.card.json").read_text(encoding="utf-8"))
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
        answer = {
            "type": "message", "text": "", "attachments": [attachment], "from": asked["recipient"],
            "recipient": asked["from"], "conversation": asked["conversation"], "replyToId": asked["id"],
        }  # fmt: skip
        address = f"{asked['serviceUrl'].rstrip('/')}/v3/conversations/{asked['conversation']['id']}/activities"
        async with ClientSession() as session, session.post(address, json=answer) as sent:
            assert sent.status < 300
    return web.Response()


@contextlib.asynccontextmanager
async def playground() -> AsyncIterator[str]:
    program = await installed_playground(ROOT / ".data" / "playground")
    application = web.Application()
    application.router.add_post("/api/messages", answer_with_card)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
    await runner.setup()
    listener = listen(0)
    await web.SockSite(runner, listener).start()
    with listen(0) as free:
        port = port_of(free)
    try:
        async with Children() as children:
            endpoint = f"http://127.0.0.1:{port_of(listener)}/api/messages"
            yield (await start_playground(children, program, endpoint, port))[1]
    finally:
        await runner.cleanup()


# The words of each chart's marks that the Playground draws.
DRAWN = {
    "chart_vertical_bar": "millions",
    "chart_grouped_bar": "sold",
    "chart_stacked_bar": "sold",
    "chart_horizontal_bar": "2024-01-01",
    "chart_line": "millions",
    "chart_of_losses": "profit",
    "chart_with_equal_labels": "A (3)",
    "chart_with_long_labels": "Furniture",
    "answer_about_data": "millions",
    "result_with_sql": "12,345,678,901,234,567,890.10",
}
ROWS = {"answer_about_data": 13, "result_with_sql": 3}


@pytest.mark.proof
async def test_charts_are_drawn_and_details_unfold_in_the_playground() -> None:
    async with asyncio.timeout(180), playground() as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await browser.new_page(viewport={"width": 1100, "height": 1800})
        await page.goto(address)
        box = page.locator("div[role=textbox][contenteditable=true]").first
        await box.wait_for(timeout=30_000)
        await page.get_by_title("Hide log panel").click()
        for number, (name, words) in enumerate(DRAWN.items(), 1):
            await box.click()
            await box.press_sequentially(name)
            await page.keyboard.press("Enter")
            card = page.locator(".ac-adaptiveCard").nth(number - 1)
            await card.wait_for(timeout=20_000)
            await card.get_by_text(words).first.wait_for(timeout=20_000)
            if name.startswith("chart"):
                assert await card.locator("[role=row]").count() == 0, f"{name} is shown as its fallback"
            else:
                assert await card.locator("[role=row]").count() == ROWS[name]
                assert "SELECT" not in await card.inner_text()
                await card.get_by_text("Show SQL").click()
                await card.get_by_text("SELECT").wait_for(timeout=20_000)
                assert "I looked for" not in await card.inner_text()
            if folder := os.environ.get("CARD_PICTURES"):
                # The bars grow.
                await asyncio.sleep(1)
                await card.screenshot(path=Path(folder) / f"{name}.playground.png")
        await browser.close()
