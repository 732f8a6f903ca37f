"""Genie's agent mode in the stand-in workspace: the same spaces and questions, told as the items of a response."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from aiohttp import web

from app.local.genie_messages import NOT_ABOUT_THIS_DATA, GenieMessage
from app.local.genie_questions import Clarification
from app.local.genie_stand_in import GenieStandIn
from app.local.stand_in_replies import RefusedRequestError, json_of
from app.local.statement_results import StatementResult

_MAX_ROWS = 100
_MAX_ITEMS = 100

Item = dict[str, Any]


class GenieAgentStandIn:
    """What tests set and look at: `enabled`, as a workspace admin does; `cut_after`: how many events the next streams
    bring before their connections break, one each; `pause_seconds` between the steps of a response; `cancelled`: the
    ids of responses; `responses`: how many were asked for.
    """

    def __init__(self, genie: GenieStandIn, *, pause_seconds: float = 0.3) -> None:
        self.enabled = True
        self.cut_after: list[int] = []
        self.pause_seconds = pause_seconds
        self.cancelled: list[str] = []
        self.responses = 0
        self._genie = genie

    def routes(self) -> Sequence[web.RouteDef]:
        agent = "/api/2.0/genie/agents/{agent}"
        conversation = f"{agent}/conversations/{{conversation}}"
        return (
            web.post(f"{agent}/responses", self._respond),
            web.get(f"{conversation}/items", self._list_items),
            web.post(f"{conversation}/responses/{{response}}/cancel", self._cancel),
        )

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        if not self.enabled:
            raise RefusedRequestError(404, "FEATURE_DISABLED", "Genie Agents Agent Mode API is not enabled.")
        message = self._asked(request.match_info["agent"], await json_of(request))
        self.responses += 1
        cut_after = self.cut_after.pop(0) if self.cut_after else None
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        number = 0
        async for event in self._events(message):
            if number == cut_after and request.transport is not None:
                request.transport.abort()
                break
            data = json.dumps({**event, "sequence_number": number})
            await response.write(f"event: {event['type']}\ndata: {data}\n\n".encode())
            number += 1
        return response

    def _asked(self, agent: str, body: Mapping[str, Any]) -> GenieMessage:
        question = _question(body)
        if question is None:
            raise RefusedRequestError(400, "INVALID_PARAMETER_VALUE", "The input is exactly one user message.")
        if self._genie.refusals:
            raise self._genie.refusals.popleft()
        if not any(space.space_id == agent for space in self._genie.spaces):
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", f"Unable to find agent [{agent}].")
        conversation = body.get("conversation_id")
        if not conversation:
            return self._genie.open(agent, question)
        if not all(message.ended for message in self._genie.messages_of(agent, conversation)):
            raise RefusedRequestError(409, "RESOURCE_CONFLICT", "Another response of the conversation is in progress.")
        return self._genie.go_on(conversation, question)

    async def _events(self, message: GenieMessage) -> AsyncIterator[Mapping[str, Any]]:
        yield {"type": "response.created", "response": _response(message, [])}
        told: dict[str, Item] = {}
        while True:
            for item in _items(message):
                if told.get(item["id"]) != item:
                    verb = "added" if item["id"] not in told else "updated"
                    verb = "done" if verb == "updated" and item["status"] == "completed" else verb
                    told[item["id"]] = item
                    yield {"type": f"response.output_item.{verb}", "item": item}
            if message.ended:
                break
            await asyncio.sleep(self.pause_seconds)
            self._genie.advance(message)
        end = "completed" if message.status == "COMPLETED" else "failed"
        yield {"type": f"response.{end}", "response": _response(message, list(told.values()))}

    async def _list_items(self, request: web.Request) -> web.Response:
        messages = self._genie.messages_of(request.match_info["agent"], request.match_info["conversation"])
        for message in messages:
            self._genie.advance(message)
        items = [item for message in messages for item in (_input(message), *_items(message))]
        if request.query.get("order") == "desc":
            items.reverse()
        page = items[: min(int(request.query.get("limit") or _MAX_ITEMS), _MAX_ITEMS)]
        more = {"has_more": len(page) < len(items), "last_id": page[-1]["id"] if page else None}
        return web.json_response({"object": "list", "data": page, **more})

    async def _cancel(self, request: web.Request) -> web.Response:
        for message in self._genie.messages_of(request.match_info["agent"], request.match_info["conversation"]):
            if message.message_id == request.match_info["response"]:
                self._genie.cancel(message)
                self.cancelled.append(message.message_id)
                return web.json_response(message.as_json())
        raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", "The response does not exist.")


def _question(body: Mapping[str, Any]) -> str | None:
    match body.get("input"):
        case [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": str(text)}]}]:
            return text.strip() or None
    return None


def _response(message: GenieMessage, output: Sequence[Item]) -> Mapping[str, Any]:
    status = {"COMPLETED": "completed", "FAILED": "failed", "CANCELLED": "cancelled"}.get(message.status, "in_progress")
    error = {"code": message.error[0], "message": message.error[1]} if message.error else None
    return {
        "object": "response",
        "id": message.message_id,
        "model": "genie",
        "conversation_id": message.conversation_id,
        "created_at": message.created_ms // 1000,
        "status": status,
        "output": list(output),
        "error": error,
    }


def _input(message: GenieMessage) -> Item:
    content = [{"type": "input_text", "text": message.content}]
    ids = {"id": f"{message.message_id}_input", "type": "message", "role": "user"}
    return {**ids, "status": "completed", "content": content}


def _items(message: GenieMessage) -> Iterator[Item]:
    """As far as the message has come."""
    if message.looks:
        thought = "I look at which tables answer this."
        content = [{"type": "reasoning_text", "text": thought}]
        yield {"id": f"{message.message_id}_plan", "type": "reasoning", "status": "completed", "content": content}
    if message.statement is not None:
        call = f"call_{message.message_id[:12]}"
        arguments = json.dumps({"sql": message.sql, "title": message.title})
        ids = {"id": call, "call_id": call}
        yield {**ids, "type": "function_call", "status": "completed", "name": "execute_sql", "arguments": arguments}
        result = message.statement.result
        yield {
            "id": f"{call}_output",
            "type": "function_call_output",
            "call_id": call,
            "status": "in_progress" if result is None else "completed",
            "output": "" if result is None else f"{message.title}\n\n{_markdown(result)}",
        }
    if message.status == "COMPLETED":
        content = [{"type": "output_text", "text": _report(message)}]
        ids = {"id": f"{message.message_id}_report", "type": "message", "role": "assistant"}
        yield {**ids, "status": "completed", "content": content}


def _report(message: GenieMessage) -> str:
    if isinstance(message.meaning, Clarification):
        return message.meaning.text
    return NOT_ABOUT_THIS_DATA if message.sql is None else message.summary()


def _markdown(result: StatementResult) -> str:
    names = [str(column["name"]) for column in result.columns]
    rows = [names, ["---"] * len(names), *(map(_cell, row) for row in result.rows[:_MAX_ROWS])]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(value: str | None) -> str:
    return "null" if value is None else value.replace("|", "\\|").replace("\n", " ")
