"""A person at the page, in Chromium: asks, reads, stops, edits, approves, and finds conversations again."""

from __future__ import annotations

import json
import re
import subprocess
import zlib
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.agent_server.ui.conftest import ROOT, OpenPage, Running

pytestmark = pytest.mark.slow

UI = ROOT / "agent_server" / "ui"
AXE = UI / "node_modules" / "axe-core" / "axe.min.js"
MAX_COMPRESSED_BYTES = 400_000


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")


def answered(page: Page, text: str) -> None:
    expect(page.locator(".answer").get_by_text(text).last).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)


def conversation(page: Page, title: str) -> None:
    page.get_by_role("navigation", name="Conversations").get_by_role("link", name=title).click()


def test_a_question_is_answered_with_text_table_chart_tool_and_source(open_page: OpenPage, running: Running) -> None:
    page = open_page()
    lengths = """() => { window.lengths = []; new MutationObserver(() => {
        const length = document.querySelector('.answer')?.innerText.length;
        if (length && length !== window.lengths.at(-1)) window.lengths.push(length);
    }).observe(document.body, {subtree: true, childList: true, characterData: true}); }"""
    expect(page.get_by_label("Your question")).to_be_focused()
    page.evaluate(lengths)
    ask(page, "Show revenue by month as a chart")
    expect(page.get_by_role("status").get_by_text("The agent is responding.")).to_be_attached()
    expect(page.get_by_role("status").get_by_text("The answer is complete.")).to_be_attached()
    assert len(page.evaluate("window.lengths")) > 2, "the answer did not grow before the person's eyes"
    expect(page.get_by_role("heading", name="You asked: Show revenue by month as a chart")).to_be_visible()
    expect(page.get_by_text("12 %")).to_be_visible()
    expect(page.get_by_role("cell", name="1,250,000")).to_be_visible()
    expect(page.locator(".answer svg.marks, .answer canvas.marks")).to_be_visible()
    expect(page.get_by_role("link", name="Sales report")).to_be_visible()
    expect(page.get_by_label("Your question")).to_be_focused()
    expect(page.get_by_role("heading", level=1)).to_have_text("Show revenue by month as a chart")
    expect(page).to_have_title("Show revenue by month as a chart – Databricks agent")
    page.reload()
    expect(page.get_by_text("12 %")).to_be_visible()


def test_an_answer_whose_stream_is_cut_twice_is_whole_and_repeats_nothing(
    open_page: OpenPage, running: Running
) -> None:
    running.proxy.cuts = [6, 2]
    page = open_page()
    ask(page, "echo one two three four five six seven")
    answered(page, "echo one two three four five six seven")
    expect(page.locator(".answer .markdown")).to_have_text(["echo one two three four five six seven"])
    assert running.proxy.cuts == []


def test_an_answer_that_a_proxy_holds_back_is_fetched_after_twenty_seconds(
    open_page: OpenPage, running: Running
) -> None:
    running.proxy.holds = True
    page = open_page()
    page.clock.install()
    ask(page, "echo hold it back")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    page.clock.run_for(19_000)
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    page.clock.run_for(2_000)
    # Where the server is not done at the first look, the page looks again by its own clock.
    for _ in range(60):
        if not page.get_by_role("button", name="Stop", exact=True).count():
            break
        page.wait_for_timeout(250)
        page.clock.run_for(2_000)
    answered(page, "echo hold it back")
    assert [question["stream"] for question in running.proxy.questions] == [True, False]
    assert len(running.turns()) == 1


def test_an_answer_is_stopped_at_the_server_and_asked_again_in_its_place(open_page: OpenPage, running: Running) -> None:
    page = open_page()
    ask(page, "wait for stop")
    expect(page.get_by_text("One two three four")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".answer").get_by_text("The answer was stopped.")).to_be_visible()
    (turn,) = running.turns()
    assert turn["response"]["status"] == "cancelled"
    running.release("stop")
    page.get_by_role("button", name="Try again").click()
    answered(page, "five six")
    expect(page.get_by_role("heading", level=2, name="You asked")).to_have_count(1)
    assert running.proxy.questions[1]["metadata"] == {"replaces": turn["response_id"]}


def test_an_answer_goes_on_while_another_conversation_is_open_and_shows_in_none_but_its_own(
    open_page: OpenPage, running: Running
) -> None:
    page = open_page()
    ask(page, "echo first")
    answered(page, "echo first")
    page.get_by_role("button", name="New chat").click()
    ask(page, "wait for second")
    expect(page.get_by_text("One two three four")).to_be_visible()
    conversation(page, "echo first")
    expect(page.get_by_text("One two three four")).to_have_count(0)
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    expect(page.get_by_text("An answer is being written")).to_have_count(1)
    conversation(page, "wait for second")
    expect(page.get_by_text("One two three four")).to_be_visible()
    page.reload()
    expect(page.get_by_text("One two three four")).to_be_visible()
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    running.release("second")
    answered(page, "five six")
    expect(page.get_by_text("An answer is being written")).to_have_count(0)


def test_an_edited_question_leaves_its_answer_and_what_came_after_behind(open_page: OpenPage, running: Running) -> None:
    page = open_page()
    for question in ("echo one", "echo two", "echo three"):
        ask(page, question)
        answered(page, question)
    second = page.locator(".turn").nth(1)
    second.hover()
    second.get_by_role("button", name="Edit this question").click()
    page.get_by_label("Edit your question").fill("echo other")
    page.keyboard.press("Enter")
    answered(page, "echo other")
    questions = page.get_by_role("heading", level=2, name="You asked")
    expect(questions).to_have_text(["You asked: echo one", "You asked: echo other"])
    page.reload()
    expect(questions).to_have_text(["You asked: echo one", "You asked: echo other"])


def test_feedback_is_kept_with_its_comment(open_page: OpenPage, running: Running) -> None:
    page = open_page()
    ask(page, "echo rate me")
    answered(page, "echo rate me")
    page.get_by_role("button", name="Bad answer").click()
    page.get_by_label("What was good or bad about it?").fill("The unit is missing.")
    page.get_by_role("button", name="Send comment").click()
    expect(page.get_by_text("Thank you for the comment.")).to_be_visible()
    (turn,) = running.turns()
    assert turn["feedback"] == {"value": "down", "comment": "The unit is missing."}
    page.reload()
    expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Bad answer").click()
    expect(page.get_by_text("Feedback withdrawn.")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "false")


def test_a_tool_runs_once_it_is_approved(open_page: OpenPage, running: Running) -> None:
    page = open_page()
    ask(page, "approve the drop")
    expect(page.get_by_text("main.sales.old_orders")).to_be_visible()
    expect(page.get_by_role("status").get_by_text("The agent asks for your approval.")).to_be_attached()
    page.get_by_role("button", name="Approve", exact=True).click()
    answered(page, "The table was dropped.")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_have_count(0)
    page.reload()
    expect(page.get_by_text("The agent asked to use “drop_table”")).to_be_visible()
    answered(page, "The table was dropped.")


def test_files_go_with_the_question(open_page: OpenPage, running: Running) -> None:
    page = open_page()
    me = running.get("me")
    assert me["max_file_bytes"] > 1_000_000
    page.route("**/api/me", lambda route: route.fulfill(json={**me, "max_file_bytes": 2048}))
    page.reload()
    page.get_by_label("Files to attach").set_input_files(
        [
            FilePayload(name="sales.csv", mimeType="text/csv", buffer=b"a,b\n1,2\n"),
            FilePayload(name="huge.csv", mimeType="text/csv", buffer=b"x" * 2049),
        ]
    )
    expect(page.get_by_text("The file is larger than 2 KB.")).to_be_visible()
    page.get_by_role("button", name="Remove huge.csv").click()
    page.evaluate(
        """() => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File(["it failed"], "dropped.log"));
            const init = {bubbles: true, cancelable: true, dataTransfer};
            if (document.body.dispatchEvent(new DragEvent("drop", init))) throw new Error("the browser would open it");
        }"""
    )
    expect(page.get_by_role("list", name="Files for this question")).to_contain_text("dropped.log9 bytes")
    ask(page, "echo what is in it")
    answered(page, "echo what is in it")
    (message,) = running.proxy.questions[0]["input"]
    assert [part["type"] for part in message["content"]] == ["input_file", "input_file", "input_text"]
    page.reload()
    expect(page.get_by_role("list", name="Attached files")).to_have_text("sales.csvdropped.log")


def test_conversations_are_found_renamed_exported_and_deleted(open_page: OpenPage, running: Running) -> None:
    for week in range(3):
        running.ask(f"echo costs of week {week}")
    page = open_page()
    nav = page.get_by_role("navigation", name="Conversations")
    expect(nav.get_by_role("heading")).to_have_text(["Today"])
    expect(nav.get_by_role("listitem")).to_have_count(3)
    page.get_by_label("Search conversations").fill("week 1")
    expect(nav.get_by_role("listitem")).to_have_count(1)
    nav.get_by_role("listitem").hover()
    page.get_by_role("button", name="Actions for “echo costs of week 1”").click()
    page.get_by_role("menuitem", name="Rename…").click()
    page.get_by_label("Title").fill("Costs of last winter")
    page.keyboard.press("Enter")
    page.get_by_label("Search conversations").fill("winter")
    page.get_by_role("link", name="Costs of last winter").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Costs of last winter")
    actions = page.get_by_role("button", name="Actions for “Costs of last winter”").last
    actions.click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Export as Markdown").click()
    assert download.value.suggested_filename == "Costs of last winter.md"
    actions.click()
    page.get_by_role("menuitem", name="Delete…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    expect(page.get_by_text("Nothing found.")).to_be_visible()


def test_a_failure_says_what_to_do_and_another_persons_conversation_is_unknown(open_page: OpenPage) -> None:
    page = open_page()
    ask(page, "fail")
    expect(page.locator(".answer").get_by_text("The model did not answer in time. Try again.")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.goto(page.url.split("#")[0] + "#/c/conv_other")
    expect(page.get_by_role("alert")).to_contain_text("conv_other")


def test_the_keyboard_reaches_everything_and_focus_comes_back(open_page: OpenPage, running: Running) -> None:
    running.ask("echo costs")
    page = open_page()
    expect(page.get_by_label("Your question")).to_be_focused()
    page.get_by_role("button", name="Skip to the question").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your question")).to_be_focused()
    actions = page.get_by_role("button", name="Actions for “echo costs”")
    actions.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename…")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Delete…")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(actions).to_be_focused()
    page.get_by_role("link", name="echo costs").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="echo costs")).to_be_focused()


def test_enter_that_accepts_an_input_methods_proposal_sends_nothing(open_page: OpenPage, running: Running) -> None:
    page = open_page()
    box = page.get_by_label("Your question")
    box.fill("日本")
    for details in ({"key": "Enter", "isComposing": True}, {"key": "Enter", "keyCode": 229}):
        box.dispatch_event("keydown", {**details, "bubbles": True})
    box.press("Shift+Enter")
    assert box.input_value() == "日本\n"
    assert running.proxy.questions == []


def test_a_long_answer_is_read_from_its_beginning_and_followed_by_who_goes_to_its_end(
    open_page: OpenPage, running: Running
) -> None:
    page = open_page(height=500)
    thread = page.locator(".thread")
    to_end = page.get_by_role("button", name="Go to the newest text")

    def below() -> int:
        return int(thread.evaluate("element => element.scrollHeight - element.clientHeight - element.scrollTop"))

    ask(page, "echo first " + "of many words " * 100)
    expect(page.get_by_role("status").get_by_text("The answer is complete.")).to_be_attached()
    expect(page.locator(".question-text").last).to_be_in_viewport()
    ask(page, "echo second " + "a line of text, " * 150)
    question = page.locator(".question-text").last
    expect(to_end).to_be_visible()
    expect(question).to_be_in_viewport()
    to_end.click()
    expect(to_end).to_have_count(0)
    thread.hover()
    page.mouse.wheel(0, -5_000)
    expect(to_end).to_be_visible()
    expect(page.get_by_role("status").get_by_text("The answer is complete.")).to_be_attached()
    assert thread.evaluate("element => element.scrollTop") < 5
    to_end.click()
    expect(to_end).to_have_count(0)
    assert below() < 2


def test_a_server_that_cannot_be_asked_says_so_and_is_asked_again(open_page: OpenPage, running: Running) -> None:
    page = open_page()
    sentence = "Databricks did not forward who you are. Restart the app and sign in again."
    body = json.dumps({"error": {"message": sentence}})
    page.route("**/api/me", lambda route: route.fulfill(status=401, body=body))
    page.reload()
    expect(page.get_by_role("alert")).to_have_text(sentence)
    page.unroute("**/api/me")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_label("Your question")).to_be_visible()


def faults(page: Page) -> list[str]:
    page.wait_for_function("document.getAnimations().every(each => each.effect.getTiming().iterations === Infinity)")
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{fault['id']}: {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
        for fault in found
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_no_state_of_the_page_has_a_fault_that_axe_finds(
    open_page: OpenPage, running: Running, scheme: str, width: int
) -> None:
    name = f"{scheme}-{width}"
    running.ask("echo costs")
    page = open_page(width=width, color_scheme=scheme, bypass_csp=True)
    page.add_script_tag(path=AXE)
    expect(page.get_by_label("Your question")).to_be_visible()
    assert faults(page) == []
    ask(page, f"wait for {name}")
    expect(page.get_by_text("One two three four")).to_be_visible()
    assert faults(page) == []
    running.release(name)
    answered(page, "five six")
    ask(page, "Show revenue by month")
    expect(page.get_by_role("link", name="Sales report")).to_be_visible()
    expect(page.locator(".answer svg.marks, .answer canvas.marks")).to_be_visible()
    page.get_by_role("button", name="Good answer").last.click()
    assert faults(page) == []
    ask(page, "fail")
    expect(page.locator(".answer").get_by_text("The model did not answer in time. Try again.")).to_be_visible()
    ask(page, "approve the drop")
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_visible()
    assert faults(page) == []
    long_name = f"{'a report of many words ' * 5}.exe"
    refused = FilePayload(name=long_name, mimeType="text/plain", buffer=b"x")
    page.get_by_label("Files to attach").set_input_files([refused])
    expect(page.get_by_role("alert").get_by_text("Files of this kind are not read.")).to_be_visible()
    assert faults(page) == []
    overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert overflow <= 0, "the page is wider than the window"
    page.get_by_role("button", name="Signed in as Ada Lovelace").click()
    expect(page.get_by_text("not as you")).to_be_visible()
    assert faults(page) == []
    page.keyboard.press("Escape")
    if width < 800:
        page.get_by_role("button", name="Conversations", exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert faults(page) == []
        page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("Actions for")).last.click()
    assert faults(page) == []
    page.get_by_role("menuitem", name="Rename…").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Jobs", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert faults(page) == []


def test_what_the_page_loads_before_charts_is_small(built_page: Path) -> None:
    manifest = json.loads((built_page / ".vite" / "manifest.json").read_text())
    files = {"index.html"}
    chunks = [next(chunk for chunk in manifest.values() if chunk.get("isEntry"))]
    while chunks:
        chunk = chunks.pop()
        files.update([chunk["file"], *chunk.get("css", [])])
        # Modules that are imported later, such as charts, are in "dynamicImports".
        chunks += [manifest[name] for name in chunk.get("imports", []) if manifest[name]["file"] not in files]
    compressed = {name: len(zlib.compress((built_page / name).read_bytes(), 6)) for name in files}
    assert sum(compressed.values()) < MAX_COMPRESSED_BYTES, compressed
    assert not any("vega" in name.lower() for name in files)


def test_the_parts_of_the_page_do_what_vitest_says(built_page: Path) -> None:
    ended = subprocess.run(["npm", "test"], cwd=UI, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-5_000:]
