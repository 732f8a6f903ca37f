"""Cards as Microsoft's own renderer draws them, in a browser. CARD_PICTURES=<folder> keeps what it looked like."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from ops.chromium import chromium
from tests.fakes.npm import npm_installed

ROOT = Path(__file__).parents[2]
CARDS = ROOT / "tests" / "golden" / "blocks"
CHROMIUM = chromium()
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
FALLS_BACK = re.compile(r'Unknown element type "(?:Chart\.[A-Za-z.]+|CodeBlock)"\. Fallback will be used if present\.')
# What it does not know or finds wrong, and what it draws, as a person and a screen reader find it.
DRAW = """async card => {
  AdaptiveCards.AdaptiveCard.onProcessMarkdown = (text, result) => {
    Object.assign(result, {outputHtml: markdownit().render(text), didProcess: true});
  };
  const drawn = new AdaptiveCards.AdaptiveCard();
  const context = new AdaptiveCards.SerializationContext(AdaptiveCards.Versions.v1_5);
  const actions = {actionsOrientation: "horizontal"};
  drawn.hostConfig = new AdaptiveCards.HostConfig({fontFamily: "sans-serif", actions});
  const pressed = [];
  drawn.onExecuteAction = action => pressed.push(action.toJSON());
  drawn.parse(card, context);
  document.body.append(drawn.render());
  for (const button of document.querySelectorAll("button")) button.click();
  const events = [...Array(context.eventCount).keys()].map(n => context.getEventAt(n).message);
  const invalid = drawn.validateProperties().validationEvents.map(event => event.message);
  const cells = row => [...row.children].map(cell => cell.innerText.trim());
  const rows = [...document.querySelectorAll("[role=row]")].map(cells);
  const links = [...document.querySelectorAll("a")].map(link => [link.innerText, link.getAttribute("href")]);
  const images = [];
  for (const image of document.images) {
    await image.decode();
    images.push([image.alt, image.naturalWidth]);
  }
  return {images, problems: [...events, ...invalid], text: document.body.innerText, rows, links, pressed};
}"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm to install the renderer with"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


Seen = dict[str, Any]


@pytest.fixture(scope="module")
def drawn() -> Iterator[Callable[[str], Seen]]:
    """Draws a golden card and tells what is seen of it, which the renderer has found nothing wrong with."""
    lock = ROOT / "tests" / "npm" / "adaptivecards"
    packages = npm_installed(ROOT / ".data" / "adaptivecards", "adaptivecards", lock).parent
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

        def draw(name: str) -> Seen:
            card = json.loads((CARDS / f"{name}.card.json").read_text(encoding="utf-8"))
            page = browser.new_page(viewport={"width": 700, "height": 400})
            page.set_content("<!doctype html><body style='font-family: sans-serif'></body>")
            for script in ("markdown-it/dist/markdown-it.min.js", "adaptivecards/dist/adaptivecards.min.js"):
                page.add_script_tag(path=packages / script)
            seen: Seen = page.evaluate(DRAW, card)
            if folder := os.environ.get("CARD_PICTURES"):
                page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
            assert [each for each in seen["problems"] if not FALLS_BACK.fullmatch(each)] == []
            return seen

        yield draw
        browser.close()


def test_a_table_is_drawn_with_its_data_as_it_is(drawn: Callable[[str], Seen]) -> None:
    seen = drawn("table")
    assert seen["rows"] == [
        ["region", "revenue", "since", "closed"],
        ["Porto", "1,204,500.5", "2024-01-31", "true"],
        ["*North* | [South](https://evil.example)", "–", "2023-12-01", "false"],
    ]
    assert seen["links"] == [["Open in Databricks", "https://adb-1.azuredatabricks.net/sql/editor/q%281%29?o=7"]]
    assert "Revenue by region" in seen["text"]
    assert "Showing 2 of 312 rows." in seen["text"]


def test_a_chart_is_drawn_as_the_table_of_its_numbers(drawn: Callable[[str], Seen]) -> None:
    assert drawn("chart")["rows"] == [["quarter", "2025", "2026"], ["Q1", "1.5", "–"], ["Q2", "2", "-80"]]


def test_an_image_of_a_chart_is_drawn_with_its_words(drawn: Callable[[str], Seen]) -> None:
    assert drawn("chart_as_an_image")["images"] == [["Revenue by month as a line", 1]]


def test_where_no_chart_is_drawn_its_title_stands_above_its_table(drawn: Callable[[str], Seen]) -> None:
    seen = drawn("answer_about_data")
    assert seen["text"].startswith("Revenue by month")
    assert len(seen["rows"]) == 13


def test_facts_read_as_they_are_and_buttons_say_what_was_decided(drawn: Callable[[str], Seen]) -> None:
    seen = drawn("facts_and_actions")
    assert "<b>disk_full_</b>" in seen["text"]
    assert [(action["verb"], action["data"]) for action in seen["pressed"]] == [
        ("repair", {"proposal": "p-1"}),
        ("dismiss", {"proposal": "p-1"}),
        ("cancel_run", {"proposal": "p-1"}),
    ]


@pytest.mark.parametrize("name", ["no_rows", "wide_table", "chart_with_a_gap", "chart_pie", "result_with_sql"])
def test_every_other_card_is_drawn_without_a_complaint(name: str, drawn: Callable[[str], Seen]) -> None:
    assert drawn(name)["rows"]


def test_a_form_opens_and_its_button_says_what_was_decided(drawn: Callable[[str], Seen]) -> None:
    seen = drawn("forms")
    for label in ("batch_size", "<b>mode</b>", "For how long", "4 hours", "Repair with these"):
        assert label in seen["text"]
    assert {"verb": "snooze", "data": {"incident": "i-1"}} in [
        {"verb": action["verb"], "data": action["data"]} for action in seen["pressed"] if "verb" in action
    ]
