"""Tool calls as endpoints streamed them in public bug reports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.models.answer_stream import AnswerStream
from app.models.chat_completions import ChatCompletionReader
from app.models.responses import ResponsesReader
from tests.fakes.serving_endpoint import DONE, chat_chunk, event

OFFERED = frozenset({"a", "b"})
Call = tuple[str, str, Any]


def piece(index: int | None, id: str | None, name: str | None, arguments: object) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"function": function} | {k: v for k, v in (("index", index), ("id", id)) if v is not None}


ONE: list[Call] = [("c1", "a", {"x": 1})]
TWO: list[Call] = [("c1", "a", {"x": 1}), ("c2", "b", {"y": 2})]

STREAMED: dict[str, tuple[list[dict[str, Any]], list[Call]]] = {
    "anomalyco/opencode#37841": ([piece(0, "c1", "a", "{"), piece(0, "", "", '"x": '), piece(0, "", "", "1}")], ONE),
    "pipecat-ai/pipecat#4987": ([piece(1, "c1", "a", ""), piece(1, None, None, '{"x":1}')], ONE),
    "vercel/ai#15879": ([piece(None, "c1", None, '{"x":'), piece(None, "c1", "a", "1}")], ONE),
    "AstrBotDevs/AstrBot#6692": ([piece(None, "c1", "a", '{"x":'), piece(None, None, None, "1}")], ONE),
    "dirac-run/dirac#215": ([piece(0, "c1", "a", '{"x":'), piece(1, None, None, "1"), piece(2, None, None, "}")], ONE),
    "movieclaw/movieclaw#224": ([piece(0, "c1", "a<|channel|>commentary", '{"x":1}')], ONE),
    "BerriAI/litellm#4537": (
        [piece(0, "c1", "a", "{}"), piece(0, None, None, '{"x"'), piece(0, None, None, ":1}")],
        ONE,
    ),
    "an object": ([piece(0, "c1", "a", {"x": 1})], ONE),
    "Kilo-Org/cloud#4753": ([piece(0, "c1", "a", "")], [("c1", "a", "")]),
    "openai/openai-agents-js#712": ([piece(0, "c1", "a", "{}"), piece(0, None, None, "")], [("c1", "a", {})]),
    "SamSaffron/term-llm#314": ([piece(None, "c1", "a", '{"x":1}'), piece(None, "c2", "b", '{"y":2}')], TWO),
    "vercel/ai#14277": ([piece(0, "c1", "a", '{"x":1}'), piece(0, "c2", "b", '{"y":2}')], TWO),
    "agno-agi/agno#8880": (
        [piece(0, "c1", "a", '{"x":1}'), piece(0, "c2", "b", ""), piece(1, None, None, '{"y":2}')],
        TWO,
    ),
    "apache/maka#1995": (
        [piece(0, "c1", "a", '{"x":1}'), piece(0, "c1", "b", '{"y":2}')],
        [("c1", "a", {"x": 1}), ("c1", "b", {"y": 2})],
    ),
    "without ids": (
        [piece(0, None, "a", "{}"), piece(1, None, "a", "{}")],
        [("call_0", "a", {}), ("call_1", "a", {})],
    ),
}


@pytest.mark.parametrize(("pieces", "calls"), STREAMED.values(), ids=STREAMED.keys())
@pytest.mark.parametrize("together", [False, True])
def test_calls_are_put_together_as_they_were_meant(
    pieces: list[dict[str, Any]], calls: list[Call], together: bool
) -> None:
    chunks = [pieces] if together else [[each] for each in pieces]
    stream = AnswerStream(ChatCompletionReader(OFFERED))
    for each in chunks:
        stream.feed(chat_chunk({"content": None, "tool_calls": each}))
    stream.feed(chat_chunk({}, "tool_calls") + DONE)
    stream.flush()
    found = [(call.id, call.name, call.arguments and json.loads(call.arguments)) for call in stream.end().tool_calls]
    assert found == calls


def test_calls_that_agents_give_no_id_are_all_made() -> None:
    """pipecat-ai/pipecat#4987"""
    stream = AnswerStream(ResponsesReader(OFFERED))
    for name in ("a", "b"):
        item = {"type": "function_call", "name": name, "arguments": "{}"}
        stream.feed(event({"type": "response.output_item.done", "item": item}))
    stream.feed(event({"type": "response.completed", "response": {"status": "completed"}}) + DONE)
    stream.flush()
    assert [(call.id, call.name) for call in stream.end().tool_calls] == [("call_0", "a"), ("call_1", "b")]
