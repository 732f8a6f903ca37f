"""A model serving endpoint and a Bot Framework connector that speak the real protocols, and the load between them.

They run in one process beside the measured one: `python -m benchmarks.fakes` prints its port, and ends when its
standard input is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from benchmarks import warehouse
from benchmarks.load import drive
from benchmarks.load_records import LoadPlan, SentActivity, TurnTiming
from benchmarks.teams_activities import conversation_id

_REFERENCE = re.compile(r"\(ref ([0-9a-f]{12})\)")
_WORDS = (
    "The",
    "nightly",
    "sales",
    "job",
    "failed",
    "because",
    "its",
    "source",
    "table",
    "had",
    "moved",
    "last",
    "week",
)


def answer_tokens(count: int) -> list[str]:
    return [(" " if index else "") + _WORDS[index % len(_WORDS)] for index in range(count)]


@dataclass(slots=True)
class LoadState:
    """The plan that is being carried out, and the turns that wait for their answers."""

    plan: LoadPlan = field(default_factory=lambda: LoadPlan(target="", name=""))
    by_reference: dict[str, TurnTiming] = field(default_factory=dict)
    by_conversation: dict[str, TurnTiming] = field(default_factory=dict)
    answered: dict[str, asyncio.Event] = field(default_factory=dict)


LOAD_STATE = web.AppKey("load_state", LoadState)


def application() -> web.Application:
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app[LOAD_STATE] = LoadState()
    app.add_routes(
        [
            web.get("/api/2.0/serving-endpoints/{name}", _describe_endpoint),
            web.post("/serving-endpoints/chat/completions", _complete),
            web.post("/api/2.0/sql/statements", warehouse.start),
            web.get("/api/2.0/sql/statements/{statement}", warehouse.result),
            web.post("/v3/conversations/{conversation}/activities", _receive),
            web.post("/v3/conversations/{conversation}/activities/{activity}", _receive),
            web.put("/v3/conversations/{conversation}/activities/{activity}", _receive),
            web.post("/control/run", _run),
        ]
    )
    return app


async def _describe_endpoint(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    return web.json_response({"name": name, "task": "llm/v1/chat", "state": {"ready": "READY"}})


async def _complete(request: web.Request) -> web.StreamResponse:
    asked = time.monotonic()
    body = await request.json()
    state = request.app[LOAD_STATE]
    if not body.get("stream"):
        return web.json_response({"error_code": "BAD_REQUEST", "message": "This endpoint only streams."}, status=400)
    turn = _turn_of(body, state)
    is_first = body["messages"][-1]["role"] == "user"
    calls = _tool_calls(state.plan, turn) if is_first else []
    if turn is not None and is_first:
        turn.model_asked = asked
    elif turn is not None:
        turn.tools_answered = asked
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    # The caller may have ended.
    with contextlib.suppress(ConnectionResetError):
        await response.prepare(request)
        if calls:
            await _call_tools(response, calls, str(body.get("model")))
            if turn is not None:
                turn.tools_called = time.monotonic()
        else:
            await _stream(response, state, turn, str(body.get("model")))
    return response


def _tool_calls(plan: LoadPlan, turn: TurnTiming | None) -> list[dict[str, str]]:
    callers = {conversation_id(plan.conversation_type, plan.name, each) for each in range(plan.function_conversations)}
    if turn is not None and turn.conversation in callers:
        return [{"name": "weather", "arguments": '{"city": "Lisbon"}'}]
    statements = [warehouse.statement(seconds, plan.rows) for seconds in plan.tool_seconds]
    return [{"name": "run_sql", "arguments": json.dumps({"sql": each})} for each in statements]


async def _call_tools(response: web.StreamResponse, functions: Sequence[Mapping[str, str]], model: str) -> None:
    chunk = _chunks_for(model)
    for index, function in enumerate(functions):
        call = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
        await response.write(chunk({"role": "assistant", "tool_calls": [call]}, None))
    await response.write(chunk({}, "tool_calls"))
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()


async def _stream(response: web.StreamResponse, state: LoadState, turn: TurnTiming | None, model: str) -> None:
    await asyncio.sleep(state.plan.first_delay)
    chunk = _chunks_for(model)
    for index, token in enumerate(answer_tokens(state.plan.tokens)):
        if index and state.plan.gap:
            await asyncio.sleep(state.plan.gap)
        if turn is not None and not index:
            turn.first_token = time.monotonic()
        await response.write(chunk({"role": "assistant", "content": token}, None))
    if turn is not None:
        turn.last_token = time.monotonic()
    await response.write(chunk({}, "stop"))
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()


def _turn_of(body: dict[str, Any], state: LoadState) -> TurnTiming | None:
    question = next((each for each in reversed(body["messages"]) if each["role"] == "user"), None)
    found = _REFERENCE.findall(json.dumps(question))
    return state.by_reference.get(found[-1]) if found else None


def _chunks_for(model: str) -> Callable[[dict[str, Any], str | None], bytes]:
    head = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
    }

    def chunk(delta: dict[str, Any], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return f"data: {json.dumps({**head, 'choices': [choice]})}\n\n".encode()

    return chunk


async def _receive(request: web.Request) -> web.Response:
    arrived = time.monotonic()
    activity = await request.json()
    state = request.app[LOAD_STATE]
    info: dict[str, Any] = next(
        (e for e in activity.get("entities") or () if e.get("type", "").lower() == "streaminfo"), {}
    )
    if state.plan.connector_delay:
        await asyncio.sleep(state.plan.connector_delay)
    send = SentActivity(
        arrived=arrived,
        answered=time.monotonic(),
        method=request.method,
        type=str(activity.get("type")),
        stream_type=info.get("streamType"),
        text=activity.get("text") or "",
    )
    conversation = request.match_info["conversation"]
    turn = state.by_conversation.get(conversation)
    if turn is not None:
        turn.sends.append(send)
        if turn.final is not None:
            state.answered[conversation].set()
    if info.get("streamId"):
        return web.json_response({}, status=202)
    return web.json_response({"id": f"a-{uuid.uuid4().hex[:12]}"}, status=201)


async def _run(request: web.Request) -> web.Response:
    state = request.app[LOAD_STATE]
    state.plan = LoadPlan(**await request.json())
    host = f"http://{request.host}/"
    run = await drive(state.plan, host, "".join(answer_tokens(state.plan.tokens)), state)
    return web.json_response(run.to_json())


async def _serve() -> None:
    runner = web.AppRunner(application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    parent_gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), parent_gone.set)
    await parent_gone.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve())
