"""A model serving endpoint and a Bot Framework connector that speak the real protocols, and the load between them.

All in one process beside the measured one: `python -m benchmarks.fakes` prints its port, and ends when its standard
input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from benchmarks.load import drive
from benchmarks.records import Plan, Send, Turn

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
class Stage:
    """The run that is on: its plan, and the turns that are being asked."""

    plan: Plan = field(default_factory=lambda: Plan(target="", name=""))
    by_reference: dict[str, Turn] = field(default_factory=dict)
    by_conversation: dict[str, Turn] = field(default_factory=dict)
    answered: dict[str, asyncio.Event] = field(default_factory=dict)
    asked_without_reference: int = 0


STAGE = web.AppKey("stage", Stage)


def application() -> web.Application:
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app[STAGE] = Stage()
    app.add_routes(
        [
            web.get("/api/2.0/serving-endpoints/{name}", _describe_endpoint),
            web.post("/serving-endpoints/chat/completions", _complete),
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
    stage = request.app[STAGE]
    if not body.get("stream"):
        return web.json_response({"error_code": "BAD_REQUEST", "message": "This endpoint only streams."}, status=400)
    turn = _turn_of(body, stage)
    if turn is not None:
        turn.model_asked = asked
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    # The one that asked can have ended.
    with contextlib.suppress(ConnectionResetError):
        await response.prepare(request)
        await _stream(response, stage, turn, str(body.get("model")))
    return response


async def _stream(response: web.StreamResponse, stage: Stage, turn: Turn | None, model: str) -> None:
    await asyncio.sleep(stage.plan.first_delay)
    chunk = _chunks_for(model)
    for index, token in enumerate(answer_tokens(stage.plan.tokens)):
        if index and stage.plan.gap:
            await asyncio.sleep(stage.plan.gap)
        if turn is not None and not index:
            turn.first_token = time.monotonic()
        await response.write(chunk({"role": "assistant", "content": token}, None))
    if turn is not None:
        turn.last_token = time.monotonic()
    await response.write(chunk({}, "stop"))
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()


def _turn_of(body: dict[str, Any], stage: Stage) -> Turn | None:
    found = _REFERENCE.findall(json.dumps(body["messages"][-1]))
    if not found:
        stage.asked_without_reference += 1
        return None
    return stage.by_reference.get(found[-1])


def _chunks_for(model: str) -> Callable[[dict[str, str], str | None], bytes]:
    head = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
    }

    def chunk(delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return f"data: {json.dumps({**head, 'choices': [choice]})}\n\n".encode()

    return chunk


async def _receive(request: web.Request) -> web.Response:
    arrived = time.monotonic()
    activity = await request.json()
    stage = request.app[STAGE]
    info: dict[str, Any] = next(
        (e for e in activity.get("entities") or () if e.get("type", "").lower() == "streaminfo"), {}
    )
    if stage.plan.connector_delay:
        await asyncio.sleep(stage.plan.connector_delay)
    send = Send(
        arrived=arrived,
        answered=time.monotonic(),
        method=request.method,
        type=str(activity.get("type")),
        stream_type=info.get("streamType"),
        text=activity.get("text") or "",
    )
    conversation = request.match_info["conversation"]
    turn = stage.by_conversation.get(conversation)
    if turn is not None:
        turn.sends.append(send)
        if turn.final is not None:
            stage.answered[conversation].set()
    if info.get("streamId"):
        return web.json_response({}, status=202)
    return web.json_response({"id": f"a-{uuid.uuid4().hex[:12]}"}, status=201)


async def _run(request: web.Request) -> web.Response:
    stage = request.app[STAGE]
    stage.plan = Plan(**await request.json())
    host = f"http://{request.host}/"
    run = await drive(stage.plan, host, "".join(answer_tokens(stage.plan.tokens)), stage)
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
