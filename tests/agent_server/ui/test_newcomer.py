"""`python dev.py agent-server` without a setting: the page opens, and an answer streams in with a chart."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.agent_server.ui.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.proof]

_ANSWER_MILLISECONDS = 120_000


@pytest.fixture
def address(built_page: Path, tmp_path: Path) -> Iterator[str]:
    pytest.importorskip("xllamacpp")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "MLFLOW_", "PG"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "app.local.agent_server", "--no-browser", "--port", str(port)],
        cwd=ROOT,
        env={**kept, "DATA_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        said: list[str] = []
        while "Ctrl-C" not in (line := process.stdout.readline()):
            assert line, "".join(said)
            said.append(line)
        (page,) = re.findall(r"^  page +(\S+)$", "".join(said), re.MULTILINE)
        yield page
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_a_newcomer_gets_a_streamed_answer_with_a_chart(browser: Browser, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    page.get_by_label("Your question").fill("How did revenue develop by month?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").get_by_text("The agent is responding.")).to_be_attached()
    expect(page.get_by_role("status").get_by_text("The answer is complete.")).to_be_attached(
        timeout=_ANSWER_MILLISECONDS
    )
    expect(page.locator(".answer svg.marks, .answer canvas.marks")).to_be_visible()
    expect(page.get_by_role("cell", name="1992-01-01").first).to_be_attached()
    if pictures := os.environ.get("PAGE_PICTURES"):
        page.screenshot(path=Path(pictures) / "newcomer.png", full_page=True)
    context.close()
