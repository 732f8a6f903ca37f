"""A stand-in Databricks workspace on loopback: sample data and jobs, and a serving endpoint with a real small model."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from app.local.genie_agent_stand_in import GenieAgentStandIn
from app.local.genie_stand_in import SPACE_ID, GenieStandIn
from app.local.lifetime import LOOPBACK, PortInUseError, listen, port_number, port_of, stop_requested
from app.local.local_settings import ROOT
from app.local.model_server import CONTEXT_TOKENS, MODEL_NAME, ModelNotInstalledError, ModelServer, model_server
from app.local.playground import TENANT_ID, USER_ID, USER_NAME
from app.local.sample_data import SCALE_FACTOR, SampleDatabase
from app.local.sample_jobs import sample_jobs
from app.local.scripted_answers import ScriptedAnswer, completion, completion_chunks, scripted_answer
from app.local.scripted_decisions import scripted_decision
from app.local.stand_in_replies import ApiPart, api_application, refusal
from app.local.warehouse_stand_in import WAREHOUSE_ID, WarehouseStandIn

_MAX_ANSWER_TOKENS = 512
_PROMPT_BYTES = (CONTEXT_TOKENS - _MAX_ANSWER_TOKENS) * 3
"""A token is about three bytes of English; older messages are left out."""

_SAMPLING = {"temperature": 0.2, "repeat_penalty": 1.05}
"""Defaults: with those of llama.cpp so small a model repeats itself."""

_FORWARDED = ("stream", "stream_options", "temperature", "top_p", "stop", "seed")
_SILENCE_SECONDS = 120.0

SAMPLE_DATA_FILE = ROOT / ".data" / f"tpch-{SCALE_FACTOR:g}.duckdb"
SETTINGS = {"DATABRICKS_MODEL_NAME": MODEL_NAME, "GENIE_SPACES": SPACE_ID, "SQL_WAREHOUSE_ID": WAREHOUSE_ID}
"""What makes the agent use it, besides its address and its token."""

JOB_WATCH_SETTINGS = {
    "JOB_WATCH_MODE": "approve",
    "JOB_WATCH_SCHEDULE": "*/10 * * * * *",
    "JOB_WATCH_ALLOW": json.dumps({"batch_size": {"type": "integer", "min": 1, "max": 50_000}}),
    "JOB_APPROVERS": json.dumps([{"tenant": TENANT_ID, "id": USER_ID, "name": USER_NAME}]),
}
"""What makes the agent watch its jobs, with the person of the Playground as their approver."""


class StandInWorkspace:
    """The calls that the agent makes to a workspace, with the responses and errors of a real one."""

    def __init__(self, model: ModelServer, token: str, data: Sequence[ApiPart] = ()) -> None:
        self._model = model
        self._token = token
        self._data = data

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.get("/api/2.0/serving-endpoints/{name}", self._describe),
            web.get("/api/2.0/preview/scim/v2/Me", self._identify),
            web.post("/serving-endpoints/chat/completions", self._complete),
        )

    def application(self) -> web.Application:
        application = api_application(self._token, [self, *self._data])
        application.cleanup_ctx.append(self._session)
        return application

    async def _session(self, application: web.Application) -> Any:  # noqa: ANN401 - aiohttp wants a bare generator
        timeout = ClientTimeout(total=None, sock_connect=5, sock_read=_SILENCE_SECONDS)
        headers = {"Authorization": f"Bearer {self._model.key}"}
        # llama.cpp closes a connection that is kept without a word, perhaps while the next request is on its way.
        connector = TCPConnector(force_close=True)
        async with ClientSession(self._model.address, connector=connector, timeout=timeout, headers=headers) as session:
            self._client = session
            yield

    async def _describe(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name != MODEL_NAME:
            return _unknown(name)
        return web.json_response(
            {
                "name": MODEL_NAME,
                "state": {"ready": "READY", "config_update": "NOT_UPDATING"},
                "task": "llm/v1/chat",
                "permission_level": "CAN_QUERY",
            }
        )

    async def _identify(self, _: web.Request) -> web.Response:
        return web.json_response({"userName": "you@localhost", "displayName": "You"})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = json.loads(await request.read())
            messages = _simplified(asked["messages"])
            scripted: ScriptedAnswer | None = scripted_decision(asked["messages"], asked.get("response_format"))
            if scripted is None:
                scripted = scripted_answer(asked["messages"], asked.get("tools"))
        except (ValueError, TypeError, LookupError, AttributeError):
            return refusal(400, "BAD_REQUEST", "The body must be a chat completions request with messages.")
        if asked.get("model") != MODEL_NAME:
            return _unknown(str(asked.get("model")))
        if scripted is not None:
            return await self._send_scripted(request, scripted, streams=bool(asked.get("stream")))
        wanted = asked.get("max_tokens") or asked.get("max_completion_tokens") or _MAX_ANSWER_TOKENS
        body = _SAMPLING | {name: asked[name] for name in _FORWARDED if asked.get(name) is not None}
        body |= {"messages": fitting(messages), "max_tokens": min(wanted, _MAX_ANSWER_TOKENS)}
        try:
            return await self._forward(request, body)
        except (ClientError, TimeoutError):
            return refusal(503, "TEMPORARILY_UNAVAILABLE", "The local model does not answer.")

    async def _send_scripted(
        self, request: web.Request, answer: ScriptedAnswer, *, streams: bool
    ) -> web.StreamResponse:
        if not streams:
            return web.json_response(completion(answer, MODEL_NAME))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in completion_chunks(answer, MODEL_NAME):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _forward(self, request: web.Request, body: Mapping[str, Any]) -> web.StreamResponse:
        async with self._client.post("/v1/chat/completions", json=body) as answer:
            if answer.status != 200:
                told = (await answer.json(content_type=None)).get("error", {})
                too_long = told.get("type") == "exceed_context_size_error"
                message = f"{'Maximum context length exceeded: ' if too_long else ''}{told.get('message', '')}"
                if answer.status < 500:
                    return refusal(400, "BAD_REQUEST", message)
                return refusal(503, "TEMPORARILY_UNAVAILABLE", message)
            response = web.StreamResponse(headers={"Content-Type": answer.headers["Content-Type"]})
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def _simplified(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What so small a model can handle: text without tools, and one sentence of instructions."""
    simplified = []
    for message in messages:
        content = message.get("content") or ""
        if not isinstance(content, str):
            content = "\n".join(part["text"] for part in content if part.get("type") == "text")
        if message["role"] == "system":
            content = re.split(r"(?<=[.!?])\s", content.strip(), maxsplit=1)[0]
        if message["role"] in {"system", "user", "assistant"} and content:
            simplified.append({"role": message["role"], "content": content})
    return simplified


def fitting(messages: Sequence[dict[str, str]], limit: int = _PROMPT_BYTES) -> list[dict[str, str]]:
    """The system message, the last message, and as many before it as fit into `limit` bytes."""
    system = [message for message in messages if message["role"] == "system"]
    rest = [message for message in messages if message["role"] != "system"]
    room = limit - sum(len(message["content"].encode()) for message in (*system, *rest[-1:]))
    kept = rest[-1:]
    for message in reversed(rest[:-1]):
        room -= len(message["content"].encode())
        if room < 0:
            break
        kept.insert(0, message)
    return system + kept


def _unknown(name: str) -> web.Response:
    return refusal(404, "RESOURCE_DOES_NOT_EXIST", f"Endpoint with name '{name}' does not exist.")


async def serve(model: ModelServer, listener: socket.socket, parent: int | None = None) -> None:
    """Prints the settings that make the agent use it, one a line, then serves until the process is told to stop.

    The token is DATABRICKS_TOKEN of the environment, which is not printed, or a new one.
    """
    token = os.environ.get("DATABRICKS_TOKEN")
    if not token:
        token = secrets.token_urlsafe(24)
        print(f"DATABRICKS_TOKEN={token}")
    warehouse = WarehouseStandIn(SampleDatabase(SAMPLE_DATA_FILE))
    genie = GenieStandIn(warehouse)
    data: Sequence[ApiPart] = [warehouse, genie, GenieAgentStandIn(genie), sample_jobs()]
    application = StandInWorkspace(model, token, data).application()
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    for name, value in SETTINGS.items():
        print(f"{name}={value}")
    print(f"DATABRICKS_BASE_URL=http://{LOOPBACK}:{port_of(listener)}/serving-endpoints", flush=True)
    try:
        await stop_requested(parent)
    finally:
        await runner.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m app.local.stand_in_workspace", description=__doc__)
    parser.add_argument("--port", type=port_number, default=0, help="0 takes a free one")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this parent process is gone")
    options = parser.parse_args()
    try:
        with listen(options.port) as listener, model_server() as model:
            asyncio.run(serve(model, listener, options.parent))
    except (PortInUseError, ModelNotInstalledError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
