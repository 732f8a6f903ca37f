"""Responses: created by an agent, in the background or not, retrieved, cancelled and deleted.

https://learn.microsoft.com/azure/foundry/agents/concepts/runtime-components
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from app.local.foundry_stand_in.agent_run import AgentRuns
from app.local.foundry_stand_in.agents import Agents
from app.local.foundry_stand_in.clock import Clock
from app.local.foundry_stand_in.conversations import Conversation, Conversations, input_items
from app.local.foundry_stand_in.refusals import (
    FailedToolCallError,
    Json,
    RefusedError,
    body_of,
    checked_metadata,
    invalid_payload,
    not_found,
    page_of,
)
from app.local.foundry_stand_in.response_record import ENDED, ResponseRecord
from app.local.foundry_stand_in.tool_definitions import check_models, check_tools

RUN_SECONDS = 600.0
"""A run expires then."""

_OF_THE_AGENT = ("model", "instructions", "tools", "tool_choice", "temperature", "top_p", "text", "reasoning")


class Responses:
    def __init__(self, clock: Clock, agents: Agents, conversations: Conversations, runs: AgentRuns) -> None:
        self._clock = clock
        self._agents = agents
        self._conversations = conversations
        self._runs = runs
        self.all: dict[str, ResponseRecord] = {}

    def routes(self) -> Sequence[web.RouteDef]:
        every, one = "/openai/v1/responses", "/openai/v1/responses/{id}"
        return (
            web.post(every, self._create),
            web.get(every, self._list),
            web.get(one, self._get),
            web.delete(one, self._delete),
            web.post(f"{one}/cancel", self._cancel),
            web.get(f"{one}/input_items", self._input_items),
        )

    async def _create(self, request: web.Request) -> web.Response:
        record = self._record(await body_of(request))
        self.all[record.id] = record
        if record.conversation is not None:
            record.conversation.busy = True
            record.conversation.items += record.asked
        record.run = asyncio.create_task(self._run(record))
        if record.background:
            return web.json_response(record.to_json())
        try:
            await asyncio.shield(record.run)
        except asyncio.CancelledError:
            # The caller is gone, and the answer of a response in the foreground with it.
            record.run.cancel()
            raise
        if record.error is not None:
            status = 500 if record.error["code"] == "server_error" else 400
            raise RefusedError(status, record.error["code"], record.error["message"])
        return web.json_response(record.to_json())

    async def _run(self, record: ResponseRecord) -> None:
        try:
            await self._clock.before(record.created_at + RUN_SECONDS, self._runs.run(record))
        except TimeoutError:
            record.status = "failed"
            record.error = {"code": "server_error", "message": "The run has expired: it lasts ten minutes at most."}
        except FailedToolCallError as error:
            record.status, record.error = "failed", {"code": "tool_user_error", "message": str(error)}
        except asyncio.CancelledError:
            record.status = "cancelled"
        finally:
            if record.conversation is not None:
                record.conversation.busy = False
                record.conversation.items += record.output

    def _record(self, body: Json) -> ResponseRecord:
        if body.get("stream"):
            raise invalid_payload("The stand-in does not stream.", "stream")
        if body.get("background") and body.get("store") is False:
            raise invalid_payload("Background responses must be stored.", "background")
        agent = self._agent(body)
        deployment = agent["definition"]["model"] if agent else str(body.get("model") or "")
        tools = (agent["definition"] if agent else body).get("tools") or []
        if agent is None:
            check_tools(tools, standard_setup=self._agents.standard_setup)
        check_models(tools, self._agents.model_of(deployment))
        conversation, history = self._history(body)
        asked = input_items(body.get("input") or [])
        _check_calls(history, asked)
        if conversation is not None:
            conversation.agents |= {agent["name"]} if agent else set()
        return ResponseRecord(
            id=f"resp_{secrets.token_hex(24)}",
            created_at=self._clock.now(),
            agent=agent,
            model=deployment,
            tools=tools,
            history=history,
            asked=asked,
            metadata=checked_metadata(body),
            background=bool(body.get("background")),
            conversation=conversation,
            previous=body.get("previous_response_id"),
        )

    def _agent(self, body: Mapping[str, Any]) -> Json | None:
        if "agent" in body:
            raise invalid_payload("The 'agent' property is deprecated. Use 'agent_reference' instead.", "agent")
        reference = body.get("agent_reference")
        if reference is None:
            return None
        if not isinstance(reference, dict) or reference.get("type") != "agent_reference" or not reference.get("name"):
            raise invalid_payload('required: Required properties ["type","name"] are not present', "/agent_reference")
        if given := next((name for name in _OF_THE_AGENT if body.get(name) is not None), None):
            raise invalid_payload("Not allowed when agent is specified.", given)
        return self._agents.version(reference["name"], reference.get("version"))

    def _history(self, body: Mapping[str, Any]) -> tuple[Conversation | None, list[Json]]:
        given, previous = body.get("conversation"), body.get("previous_response_id")
        if given and previous:
            raise invalid_payload("Mutually exclusive parameters: conversation, previous_response_id.", "conversation")
        if previous:
            return None, self._find(previous).items
        if not given:
            return None, []
        conversation = self._conversations.find(given["id"] if isinstance(given, dict) else given)
        if conversation.busy:
            raise RefusedError(
                400,
                "conversation_locked",
                "Another process is currently operating on this conversation. Please retry in a few seconds.",
            )
        return conversation, list(conversation.items)

    async def _list(self, request: web.Request) -> web.Response:
        agent, conversation = request.query.get("agent_name"), request.query.get("conversation_id")
        found = [
            record.to_json()
            for record in self.all.values()
            if agent in {None, record.agent and record.agent["name"]}
            and conversation in {None, record.conversation and record.conversation.id}
        ]
        return page_of(request, found)

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._find(request.match_info["id"]).to_json())

    async def _input_items(self, request: web.Request) -> web.Response:
        return page_of(request, list(self._find(request.match_info["id"]).asked))

    async def _delete(self, request: web.Request) -> web.Response:
        record = self._find(request.match_info["id"])
        await _stop(record)
        del self.all[record.id]
        return web.json_response({"id": record.id, "object": "response", "deleted": True})

    async def _cancel(self, request: web.Request) -> web.Response:
        record = self._find(request.match_info["id"])
        if not record.background:
            raise invalid_payload("Cannot cancel a synchronous response.")
        if record.status not in ENDED:
            await _stop(record)
        return web.json_response(record.to_json())

    def _find(self, response_id: str) -> ResponseRecord:
        if response_id not in self.all:
            raise not_found("Response", response_id)
        return self.all[response_id]

    async def close(self) -> None:
        for record in self.all.values():
            await _stop(record)


async def _stop(record: ResponseRecord) -> None:
    if record.run is not None:
        record.run.cancel()
        await asyncio.gather(record.run, return_exceptions=True)
        if record.status not in ENDED:
            record.status = "cancelled"


def _check_calls(history: Sequence[Json], asked: Sequence[Json]) -> None:
    """Raises `RefusedError` where a call lacks its output, or an output its call."""
    items = [*history, *asked]
    calls = {item["call_id"] for item in items if item["type"] == "function_call"}
    outputs = {item.get("call_id") for item in items if item["type"] == "function_call_output"}
    if unknown := outputs - calls:
        raise RefusedError(
            400, None, f"No tool call found for function call output with call_id {unknown.pop()}.", param="input"
        )
    if missing := calls - outputs:
        raise RefusedError(400, None, f"No tool output found for function call {missing.pop()}.", param="input")
