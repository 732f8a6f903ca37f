"""The classic API: agents, which it calls assistants, threads and their messages.

https://learn.microsoft.com/rest/api/aifoundry/aiagents/
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from app.local.foundry_stand_in.agents import Agents
from app.local.foundry_stand_in.clock import Clock
from app.local.foundry_stand_in.refusals import (
    Json,
    RefusedError,
    body_of,
    checked_metadata,
    invalid_payload,
    page_of,
)
from app.local.foundry_stand_in.script import OfferedTool
from app.local.foundry_stand_in.tool_definitions import check_schema, check_tools, offered_tools

_MAX_TOOLS = 128
_ROLES = {"user", "assistant"}
_CONNECTED = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}


@dataclass(slots=True)
class Thread:
    """`active` is the run that has not ended, of which a thread has one at most."""

    id: str
    created_at: int
    metadata: dict[str, str]
    messages: list[Json] = field(default_factory=list)
    active: str | None = None

    def to_json(self) -> Json:
        shared = {"id": self.id, "object": "thread", "created_at": self.created_at}
        return {**shared, "metadata": self.metadata, "tool_resources": {}}


class ClassicAgents:
    """`all` agents and `threads` by id."""

    def __init__(self, clock: Clock, agents: Agents) -> None:
        self._clock = clock
        self._agents = agents
        self.all: dict[str, Json] = {}
        self.threads: dict[str, Thread] = {}

    def routes(self) -> Sequence[web.RouteDef]:
        agent, thread = "/assistants/{id}", "/threads/{id}"
        return (
            web.post("/assistants", self._create),
            web.get("/assistants", self._list),
            web.get(agent, self._get),
            web.post(agent, self._update),
            web.delete(agent, self._delete),
            web.post("/threads", self._create_thread),
            web.get("/threads", self._list_threads),
            web.get(thread, self._get_thread),
            web.post(thread, self._update_thread),
            web.delete(thread, self._delete_thread),
            web.post(f"{thread}/messages", self._create_message),
            web.get(f"{thread}/messages", self._list_messages),
        )

    def find(self, agent_id: str) -> Json:
        """Raises `RefusedError`."""
        if agent_id not in self.all:
            raise RefusedError(404, None, f"No assistant found with id '{agent_id}'.")
        return self.all[agent_id]

    def thread(self, thread_id: str) -> Thread:
        """Raises `RefusedError`."""
        if thread_id not in self.threads:
            raise RefusedError(404, None, f"No thread found with id '{thread_id}'.")
        return self.threads[thread_id]

    async def _create(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        created: Json = {
            "id": f"asst_{secrets.token_hex(12)}",
            "object": "assistant",
            "created_at": int(self._clock.now()),
        }
        agent = created | self._configured(body)
        self.all[agent["id"]] = agent
        return web.json_response(agent)

    async def _update(self, request: web.Request) -> web.Response:
        agent = self.find(request.match_info["id"])
        agent |= self._configured({**agent, **await body_of(request)})
        return web.json_response(agent)

    def _configured(self, body: Mapping[str, Any]) -> Json:
        model = str(body.get("model") or "")
        if model not in self._agents.deployments:
            raise RefusedError(400, None, f"The requested deployment '{model}' does not exist.")
        tools = body.get("tools") or []
        if len(tools) > _MAX_TOOLS:
            raise invalid_payload(f"At most {_MAX_TOOLS} tools.", "/tools")
        self._check(tools)
        optional = {name: body.get(name) for name in ("name", "description", "instructions")}
        defaults = {"temperature": 1.0, "top_p": 1.0, "response_format": "auto", "tool_resources": {}}
        return {**optional, **defaults, "model": model, "tools": tools, "metadata": checked_metadata(body)}

    def _check(self, tools: Sequence[Json]) -> None:
        for tool in tools:
            if tool.get("type") == "function":
                function = tool.get("function") or {}
                check_schema(function.get("name"), function.get("parameters"))
            elif tool.get("type") == "connected_agent":
                self.find(str((tool.get("connected_agent") or {}).get("id")))
            else:
                check_tools([tool], standard_setup=self._agents.standard_setup)

    async def _list(self, request: web.Request) -> web.Response:
        return page_of(request, list(self.all.values()))

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self.find(request.match_info["id"]))

    async def _delete(self, request: web.Request) -> web.Response:
        agent = self.find(request.match_info["id"])
        del self.all[agent["id"]]
        return web.json_response({"id": agent["id"], "object": "assistant.deleted", "deleted": True})

    async def _create_thread(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        thread = Thread(f"thread_{secrets.token_hex(12)}", int(self._clock.now()), checked_metadata(body))
        for message in body.get("messages") or ():
            self.add_message(thread, message)
        self.threads[thread.id] = thread
        return web.json_response(thread.to_json())

    async def _list_threads(self, request: web.Request) -> web.Response:
        return page_of(request, [thread.to_json() for thread in self.threads.values()])

    async def _get_thread(self, request: web.Request) -> web.Response:
        return web.json_response(self.thread(request.match_info["id"]).to_json())

    async def _update_thread(self, request: web.Request) -> web.Response:
        thread = self.thread(request.match_info["id"])
        thread.metadata = checked_metadata(await body_of(request))
        return web.json_response(thread.to_json())

    async def _delete_thread(self, request: web.Request) -> web.Response:
        thread = self.thread(request.match_info["id"])
        del self.threads[thread.id]
        return web.json_response({"id": thread.id, "object": "thread.deleted", "deleted": True})

    async def _create_message(self, request: web.Request) -> web.Response:
        thread = self.thread(request.match_info["id"])
        if thread.active:
            raise RefusedError(400, None, f"Can't add messages to {thread.id} while a run {thread.active} is active.")
        return web.json_response(self.add_message(thread, await body_of(request)))

    async def _list_messages(self, request: web.Request) -> web.Response:
        run_id = request.query.get("run_id")
        messages = self.thread(request.match_info["id"]).messages
        return page_of(request, [each for each in messages if run_id in {None, each["run_id"]}])

    def add_message(self, thread: Thread, body: Mapping[str, Any], run: Mapping[str, Any] | None = None) -> Json:
        """Raises `RefusedError`."""
        content = body.get("content")
        if body.get("role") not in _ROLES or not content:
            raise invalid_payload("A message needs a role, user or assistant, and content.")
        if not isinstance(content, str):
            content = "\n".join(str(part.get("text", "")) for part in content)
        message = {
            "id": f"msg_{secrets.token_hex(12)}",
            "object": "thread.message",
            "created_at": int(self._clock.now()),
            "thread_id": thread.id,
            "status": "completed",
            "role": body["role"],
            "content": [{"type": "text", "text": {"value": content, "annotations": []}}],
            "assistant_id": run["assistant_id"] if run else None,
            "run_id": run["id"] if run else None,
            "attachments": [],
            "metadata": checked_metadata(body),
        }
        thread.messages.append(message)
        return message


def classic_tools(tools: Sequence[Json]) -> list[OfferedTool]:
    """What the script may choose from; a connected agent takes a `query`."""
    offered = []
    for tool in tools:
        if tool["type"] == "connected_agent":
            offered.append(OfferedTool(tool["connected_agent"]["name"], _CONNECTED, {}))
        elif tool["type"] == "function":
            function = tool["function"]
            offered.append(OfferedTool(function["name"], function.get("parameters") or {}, {}))
        else:
            offered += offered_tools([tool])
    return offered
