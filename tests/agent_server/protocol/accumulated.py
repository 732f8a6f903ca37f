"""What openai's own accumulator makes of a stream of strict events, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, cast, get_args

from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

from agent_server.protocol.response_assembler import ResponseAssembler
from agent_server.protocol.responses_request import parse_responses_request

Json = dict[str, Any]


@cache
def _event_types() -> dict[str, type[BaseModel]]:
    """By the value of `type`: a union of that many is slow to try."""
    return {
        get_args(each.model_fields["type"].annotation)[0]: each for each in get_args(get_args(ResponseStreamEvent)[0])
    }


def accumulated(events: Iterable[Json], *, strictly: bool = True) -> Json:
    """The Response object at the end, as the client built it. Raises where the client would, and with `strictly` where
    an event is not of the type that openai documents.
    """
    state: ResponseStreamState[None] = ResponseStreamState(input_tools=omit, text_format=omit)
    last: Json = {}
    for number, event in enumerate(events):
        assert event["sequence_number"] == number
        known = _event_types().get(event["type"])
        assert known is not None, f"{event['type']} is no event type that openai knows"
        state.handle_event(cast(Any, known.model_validate(event)))
        if "response" in event:
            last = event["response"]
    if strictly and last.get("status") == "completed":
        Response.model_validate(last)
    return last


def assembler(body: Any = "Hello") -> ResponseAssembler:
    request = parse_responses_request({"input": body} if isinstance(body, str) else body)
    return ResponseAssembler("resp_1", 1_700_000_000, request)


def assembled(*loose: Json, body: Any = "Hello") -> list[Json]:
    """All events of a response whose handler yielded these."""
    response = assembler(body)
    events = response.begin()
    for event in loose:
        events += response.add(event)
    return events + response.finish()
