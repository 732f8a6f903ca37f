"""A conversation is taken along as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from agent_server.page.conversation_export import content_disposition
from app.content.block_json import blocks_for_programs
from app.content.block_markdown import block_markdown
from app.content.blocks import (
    Action,
    Actions,
    Chart,
    ChartKind,
    Code,
    Column,
    ColumnType,
    Fact,
    Facts,
    Folded,
    Image,
    Point,
    Series,
    Table,
    Text,
)
from tests.agent_server.page.page_server import PageServer

ANN = "4711@99"
GOLDEN = Path(__file__).parent / "conversation_export.md"

BLOCKS = (
    Table(
        (Column("region | area"), Column("revenue", ColumnType.NUMBER)),
        (("Porto *", 12.0), ("Lyon\n# x", 9007199254740993), (None, -0.5)),
        total_rows=12,
        title="Revenue",
    ),
    Chart(
        ChartKind.LINE,
        (
            Series("2025", (Point("Jan", 1.0), Point("Feb", None))),
            Series("2026", (Point("Feb", 0.1, "0.10"), Point("Mar", 3.0))),
        ),
        title="By month",
        x_axis="month",
    ),
    Chart(ChartKind.PIE, (Series("", (Point("a", 1.0),)),), beside_table=True),
    Facts((Fact("State", "*done*"),), title="Job"),
    Image("https://img.example/a.png", "A picture"),
    Actions((Action("more", "More rows"),)),
    Folded("How", (Code("SELECT '```'", "sql"), Text("Read from *one* table."))),
)


async def a_conversation(page: PageServer) -> str:
    id = await page.begin(ANN, "Sales & <costs>")
    file = (await page.upload(ANN)).json()
    part = {
        "type": "output_text",
        "text": "Sales **grew** [1].",
        "annotations": [
            {"type": "url_citation", "url": "https://docs.example/a?b=(c)", "title": "Handbook [2]"},
            {"type": "url_citation", "url": "https://docs.example/a?b=(c)", "title": "Handbook [2]"},
            {"type": "file_citation", "file_id": "f"},
            {"type": "file_citation", "file_id": "f", "filename": "Sales *2026*"},
        ],
    }
    output: list[dict[str, Any]] = [
        {"type": "function_call", "name": "genie_sales", "arguments": '{"secret": 1}', "call_id": "c1"},
        {"type": "function_call_output", "call_id": "c1", "output": "rows"},
        {"type": "function_call", "name": "genie_sales", "arguments": "{}", "call_id": "c2"},
        {"type": "message", "role": "assistant", "content": [part]},
    ]
    outputs = {"blocks": blocks_for_programs(BLOCKS)}
    await page.responses.write(
        ANN, id, "resp_1", "How did sales go?\n# And costs?", files=(file["id"],), output=output, custom_outputs=outputs
    )
    await page.send(ANN, "POST", "/api/responses/resp_1/feedback", {"value": "down", "comment": "Wrong\nyear"})
    stopped = [{"type": "message", "content": [{"type": "output_text", "text": "It is"}]}]
    await page.responses.write(ANN, id, "resp_2", "Why?", previous="resp_1", output=stopped, status="cancelled")
    error = {"code": "server_error", "message": "The model is away."}
    await page.responses.write(ANN, id, "resp_3", "Why?", previous="resp_2", error=error, status="failed")
    odd: list[Any] = [{"type": "message", "content": None}, "text", {"type": "mcp_call"}]
    await page.responses.write(
        ANN, id, "resp_4", "", previous="resp_3", output=odd, custom_outputs={"blocks": "mine"}, status="in_progress"
    )
    return id


async def test_a_conversation_is_exported_as_markdown(page: PageServer) -> None:
    id = await a_conversation(page)
    answer = await page.send(ANN, "GET", f"/api/conversations/{id}/export")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    begun = (await page.read(ANN, f"/api/conversations/{id}"))["created_at"]
    assert begun > 0
    lines = answer.text.splitlines()
    assert lines[2].startswith("Begun 20")
    lines[2] = "Begun."
    text = "\n".join(lines) + "\n"
    assert text == GOLDEN.read_text("utf-8")
    html = MarkdownIt().enable("table").render(text)
    # What was asked and what is data does not pass for the document's own headings and rows.
    assert html.count("<h1>") == 2
    assert html.count("<h2>") == 7
    assert html.count("<blockquote>\n<p>How did sales go?</p>\n<h1>") == 1
    assert html.count("<tr>") == 8


async def test_a_conversation_is_exported_as_json(page: PageServer) -> None:
    id = await a_conversation(page)
    answer = await page.send(ANN, "GET", f"/api/conversations/{id}/export?format=json")
    assert answer.headers["content-disposition"].startswith('attachment; filename="Sales costs.json"')
    exported = json.loads(answer.text)
    assert exported.pop("version") == 1
    assert exported == await page.read(ANN, f"/api/conversations/{id}")


@pytest.mark.parametrize(
    ("title", "header"),
    [
        ("Sales", "attachment; filename=\"Sales.md\"; filename*=UTF-8''Sales.md"),
        ('a"; b\r\nX: y/../z', "attachment; filename=\"a b X y .. z.md\"; filename*=UTF-8''a%20b%20X%20y%20..%20z.md"),
        ("売上", "attachment; filename=\"conversation.md\"; filename*=UTF-8''%E5%A3%B2%E4%B8%8A.md"),
        ("...", "attachment; filename=\"conversation.md\"; filename*=UTF-8''conversation.md"),
    ],
)
def test_the_file_is_named_after_the_conversation(title: str, header: str) -> None:
    assert content_disposition(title, "md") == header


def test_code_is_fenced_whatever_stands_in_it() -> None:
    assert block_markdown(Code("````\n", "md")) == "`````md\n````\n\n`````"
