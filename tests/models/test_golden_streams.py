"""What endpoints send, and what becomes of it: one file of bytes and one of what is right for each case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.models import model_errors
from app.models.model import Completed, ModelEvent, ModelRequest, ToolCall, ToolDefinition, Usage
from app.models.model_errors import ModelError
from tests.fakes.endpoint_model import QUESTION, asking, text_of
from tests.fakes.serving_endpoint import ServingEndpoint, Stream

CASES = Path(__file__).parents[1] / "golden" / "model_streams"


def as_sent(body: bytes) -> dict[str, list[bytes]]:
    return {
        "as it is": [body],
        "with CR LF": [body.replace(b"\n", b"\r\n")],
        "with CR": [body.replace(b"\n", b"\r")],
        "in pieces": [body[at : at + 11] for at in range(0, len(body), 11)],
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in CASES.glob("*.sse")))
async def test_an_endpoints_stream_becomes_the_right_answer_however_it_is_cut(name: str) -> None:
    right: dict[str, Any] = json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))
    tools = tuple(ToolDefinition(tool, "", {"type": "object"}) for tool in right.get("tools", ()))
    request = ModelRequest(QUESTION.messages, tools)
    sent = as_sent((CASES / f"{name}.sse").read_bytes())
    async with ServingEndpoint() as endpoint, asking(endpoint, api=name.partition("_")[0]) as model:
        for way, pieces in sent.items():
            endpoint.replies.append(Stream(pieces, right.get("content_type", "text/event-stream")))
            events: list[ModelEvent] = []
            failed = ""
            try:
                async for event in model.stream(request):
                    events.append(event)
            except ModelError as failure:
                failed = type(failure).__name__
            assert (text_of(events), failed) == (right["text"], right.get("failure", "")), way
            if not failed:
                calls = tuple(ToolCall(**call) for call in right.get("calls", ()))
                usage = Usage(*right["usage"]) if "usage" in right else None
                assert events[-1] == Completed(calls, usage=usage), way
    assert len(endpoint.asked) == len(sent), "an answer was bought again"


def test_every_case_names_a_failure_that_exists() -> None:
    for path in CASES.glob("*.json"):
        failure = json.loads(path.read_text(encoding="utf-8")).get("failure", "ModelError")
        assert issubclass(getattr(model_errors, failure), ModelError)
        assert path.with_suffix(".sse").is_file()
