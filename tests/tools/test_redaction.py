"""No secret of a tool's output reaches a model, a person or storage."""

from __future__ import annotations

import pytest

from app.content.blocks import Chart, ChartKind, Code, Column, Fact, Facts, Image, Point, Series, Table
from app.models.model import Source, ToolCall
from app.tools.base import Effect, Tool, ToolArguments, ToolContext, ToolError, ToolOutput
from app.tools.redaction import REMOVED, redacted, without_secrets
from app.tools.registry import MAX_RESULT_CHARACTERS, ToolRegistry
from tests.fakes.tools import tool_context

HEX = "0123456789abcdef0123456789abcdef"
DATABRICKS_TOKEN = "dapi" + HEX
JWT = "eyJhbGciOiJSUzI1NiJ9." + "eyJzdWIiOiJhbm4ifQ." + "c2lnbmF0dXJl_-x"


@pytest.mark.parametrize(
    ("secret", "around"),
    [
        (DATABRICKS_TOKEN + "-2", "a token {}, of a person"),
        ("dose" + HEX, "{}"),
        (JWT, '{{"token":"{}"}}'),
        (JWT, "Authorization: Bearer {}"),
        ("AKIA" + "ABCDEFGHIJKLMNOP", "key {}."),
        ("ghp_" + "a1B2" * 9, "{}"),
        ("sk-" + "proj-" + "a1B2" * 6, "the key is {}"),
        ("xoxb-" + "123456789012-abc", "{}"),
        ("AIza" + "a" * 35, "{}"),
        ("bXlzZWNyZXRrZXk=", "DefaultEndpointsProtocol=https;AccountName=x;AccountKey={};EndpointSuffix=y"),
        ("hunter2hunter2", "Server=db;User Id=ann;Password={};"),
        ("hunter2hunter2", "postgresql://ann:{}@db.example/x"),
        ("abc%2Fdefghijk", "https://x.blob.core.windows.net/c?sv=2&sig={}&se=1"),
        ("s3cr3t-value-1", '{{"client_secret": "{}"}}'),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc=\n-----END RSA PRIVATE KEY-----", "file:\n{}\n"),
    ],
)
def test_a_secret_is_removed_and_what_stands_around_it_stays(secret: str, around: str) -> None:
    text = without_secrets(around.format(secret))
    assert secret not in text
    assert REMOVED in text
    before, _, after = around.format("\0").partition("\0")
    assert text.startswith(before.removesuffix("Bearer "))
    assert text.endswith(after)


@pytest.mark.parametrize(
    "text",
    [
        "The password policy: at least 12 characters.",
        "tokens: 1200, dapi is a prefix",
        "task-force-one-two-three-four-five-six",
        "https://example.com/a?b=c",
        "1234567890123456789012345678901234567890",
        "eyJ is how they begin",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


def test_blocks_and_sources_lose_secrets_and_keep_everything_else() -> None:
    table = Table((Column("a"), Column("b")), ((DATABRICKS_TOKEN, 1.5), (None, "x")), 9)
    facts, code = Facts((Fact("token", DATABRICKS_TOKEN),)), Code(f"SELECT '{DATABRICKS_TOKEN}'", "sql")
    source = Source("a", f"https://x/?sig={HEX}")
    assert redacted((table, facts, code, source)) == (
        Table((Column("a"), Column("b")), ((REMOVED, 1.5), (None, "x")), 9),
        Facts((Fact("token", REMOVED),)),
        Code(f"SELECT '{REMOVED}'", "sql"),
        Source("a", f"https://x/?sig={REMOVED}"),
    )


async def test_neither_results_nor_errors_nor_a_cut_let_a_secret_through() -> None:
    async def run(arguments: ToolArguments, context: ToolContext) -> ToolOutput:
        return ToolOutput("x" * (MAX_RESULT_CHARACTERS - 20) + DATABRICKS_TOKEN + "y" * 50_000_000)

    async def fail(arguments: ToolArguments, context: ToolContext) -> ToolOutput:
        raise ToolError(f"refused {DATABRICKS_TOKEN}")

    for run_tool in (run, fail):
        tool = Tool("leak", "", ToolArguments, run_tool, Effect.READ_ONLY)
        result = await ToolRegistry([tool]).run(ToolCall("1", "leak", "{}"), tool_context())
        assert "dapi" not in result.text
        assert result.is_untrusted
        assert len(result.text) < MAX_RESULT_CHARACTERS + 100


def test_pixels_stay_as_they_are_and_the_words_of_an_image_do_not() -> None:
    looks_like_a_key = f"iVBORw0KGgo{'A' * 40}AKIA{'B' * 16}"
    image = Image("", f"token dapi{'0' * 32}", looks_like_a_key)
    chart = Chart(ChartKind.LINE, (Series("", (Point("a", 1.0),)),), image=image)
    assert redacted((chart, image)) == (
        Chart(ChartKind.LINE, chart.series, image=Image("", f"token {REMOVED}", looks_like_a_key)),
        Image("", f"token {REMOVED}", looks_like_a_key),
    )
