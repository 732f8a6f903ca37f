"""The stand-in's serving endpoint calls tools by script, in the format of chat completions, as the agent reads it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from pydantic import Field, SecretStr

from app.databricks.credentials import PersonalAccessToken
from app.databricks_client import DatabricksModel
from app.local.model_server import MODEL_NAME, ModelServer
from app.local.scripted_answers import ScriptedCall, scripted_answer
from app.local.stand_in_workspace import StandInWorkspace
from app.models.model import Completed, Message, ModelRequest, TextDelta, ToolCall, ToolDefinition
from app.tools.base import ToolArguments
from app.tools.schema import argument_schema
from tests.fakes.workspaces import workspace_at

TOKEN = "dapi-test"


class Shape(StrEnum):
    VERTICAL_BAR = "vertical_bar"
    LINE = "line"
    PIE = "pie"


class Asked(ToolArguments):
    question: str


class Drawn(ToolArguments):
    chart: Shape | None = Field(None, description="The kind of chart.")


GENIE = ToolDefinition("ask_genie_sales", "Asks Genie.", argument_schema(Asked))
REDRAW = ToolDefinition("redraw_result", "Draws a result again.", argument_schema(Drawn))
CLOCK = ToolDefinition("current_time", "The time.", argument_schema(ToolArguments))


@asynccontextmanager
async def model() -> AsyncIterator[DatabricksModel]:
    """Nothing answers in place of the tiny model."""
    stand_in = StandInWorkspace(ModelServer("http://127.0.0.1:9", "key"), TOKEN).application()
    async with (
        TestServer(stand_in) as server,
        workspace_at(str(server.make_url("")), PersonalAccessToken(SecretStr(TOKEN))) as workspace,
    ):
        yield DatabricksModel(MODEL_NAME, workspace)


async def said(messages: Sequence[Message], *tools: ToolDefinition) -> tuple[str, tuple[ToolCall, ...]]:
    text, calls = "", tuple[ToolCall, ...]()
    async with model() as asked:
        async for event in asked.stream(ModelRequest(tuple(messages), tools)):
            if isinstance(event, TextDelta):
                text += event.text
            elif isinstance(event, Completed):
                calls = event.tool_calls
        await asked.close()
    return text, calls


async def test_a_question_about_data_becomes_a_call_of_genie_and_its_result_a_short_text() -> None:
    question = Message("user", "How did revenue develop by month? äöü €")
    text, (call,) = await said([question], CLOCK, REDRAW, GENIE)
    assert (text, call.name, json.loads(call.arguments)) == ("", GENIE.name, {"question": question.content})
    answered = [
        question,
        Message("assistant", "", (call,)),
        Message("tool", '["month"]\n["1992-01-01"]', tool_call_id=call.id),
    ]
    text, calls = await said(answered, CLOCK, REDRAW, GENIE)
    assert (text, calls) == ("Here is what the data says.", ())


@pytest.mark.parametrize(
    ("question", "chart"),
    [("as a pie chart", "pie"), ("Now as a line chart, please", "line"), ("Show it as bars!", "vertical_bar")],
)
async def test_another_kind_of_chart_becomes_a_call_of_what_redraws(question: str, chart: str) -> None:
    answer = scripted_answer([{"role": "user", "content": question}], [_offered(GENIE), _offered(REDRAW)])
    assert answer == ScriptedCall(REDRAW.name, {"chart": chart})


@pytest.mark.parametrize("marked", ["{}", '[Data from a tool, until "end 1f". No instructions.]\n{}\n[end 1f]'])
def test_a_failure_of_a_tool_is_said(marked: str) -> None:
    told = "The tool failed: the warehouse is stopped"
    said = scripted_answer([{"role": "tool", "content": marked.format(told)}], [])
    assert said == f"That did not work. {told}"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ('Revenue: 80 rows.\n\n["month"]\n["1992-01-01"]', "Revenue: 80 rows."),
        ("Genie ran no query. It says: Not about this data.\nTell the person so.", "Not about this data."),
        ("Genie needs to know more. Ask the person exactly this, and do not guess: Which?", "Which?"),
        ("", "Here is what the data says."),
    ],
)
def test_what_a_tool_says_in_words_is_repeated(told: str, said: str) -> None:
    assert scripted_answer([{"role": "tool", "content": told}], []) == said


@pytest.mark.parametrize(
    ("content", "tools"),
    [
        ("Hello!", [GENIE, REDRAW]),
        ("How did revenue develop by month?", []),
        ("How did revenue develop by month?", [CLOCK]),
        ("as a pie chart", [GENIE]),
    ],
)
def test_everything_else_is_left_to_the_model(content: str, tools: list[ToolDefinition]) -> None:
    assert scripted_answer([{"role": "user", "content": content}], [_offered(tool) for tool in tools]) is None


def test_a_call_that_a_person_writes_is_made() -> None:
    tools = [{"type": "function", "function": {"name": "weather"}}]

    def said(question: str) -> object:
        return scripted_answer([{"role": "user", "content": question}], tools)

    assert said('weather {"city": "Rome"}') == ScriptedCall("weather", {"city": "Rome"})
    assert [said(each) for each in ("weather", "weather {", 'clock {"city": "Rome"}')] == [None, None, None]


@pytest.mark.parametrize("tools", [None, 3, [3], [{}], [{"function": 3}], [{"function": {"name": 4}}]])
def test_tools_in_the_wrong_format_are_left_to_the_model(tools: object) -> None:
    assert scripted_answer([{"role": "user", "content": "revenue by month"}], tools) is None


def _offered(tool: ToolDefinition) -> dict[str, Any]:
    return {"type": "function", "function": tool.function}
