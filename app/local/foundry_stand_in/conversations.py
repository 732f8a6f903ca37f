"""Conversations and their items."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from app.local.foundry_stand_in.clock import Clock
from app.local.foundry_stand_in.refusals import Json, body_of, checked_metadata, invalid_payload, not_found, page_of

_MAX_ITEMS_AT_ONCE = 20
_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "mcp_approval_response": "mcpr"}


@dataclass(slots=True)
class Conversation:
    """`busy`: a response is being made in it. `agents` have answered in it."""

    id: str
    created_at: int
    metadata: dict[str, str]
    items: list[Json] = field(default_factory=list)
    busy: bool = False
    agents: set[str] = field(default_factory=set)

    def to_json(self) -> Json:
        return {
            "id": self.id,
            "object": "conversation",
            "created_at": self.created_at,
            "metadata": self.metadata,
        }


class Conversations:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.all: dict[str, Conversation] = {}

    def routes(self) -> Sequence[web.RouteDef]:
        every, one = "/openai/v1/conversations", "/openai/v1/conversations/{id}"
        return (
            web.post(every, self._create),
            web.get(every, self._list),
            web.get(one, self._get),
            web.post(one, self._update),
            web.delete(one, self._delete),
            web.get(f"{one}/items", self._items),
            web.post(f"{one}/items", self._add_items),
        )

    def find(self, conversation_id: str) -> Conversation:
        """Raises `RefusedError`."""
        if conversation_id not in self.all:
            raise not_found("Conversation", conversation_id)
        return self.all[conversation_id]

    async def _create(self, request: web.Request) -> web.Response:
        body = await body_of(request)
        metadata, items = checked_metadata(body), input_items(body.get("items") or [])
        created = Conversation(f"conv_{secrets.token_hex(24)}", int(self._clock.now()), metadata, items)
        self.all[created.id] = created
        return web.json_response(created.to_json())

    async def _list(self, request: web.Request) -> web.Response:
        agent = request.query.get("agent_name")
        found = [each.to_json() for each in self.all.values() if agent is None or agent in each.agents]
        return page_of(request, found)

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self.find(request.match_info["id"]).to_json())

    async def _update(self, request: web.Request) -> web.Response:
        conversation = self.find(request.match_info["id"])
        conversation.metadata = checked_metadata(await body_of(request))
        return web.json_response(conversation.to_json())

    async def _delete(self, request: web.Request) -> web.Response:
        conversation = self.find(request.match_info["id"])
        del self.all[conversation.id]
        return web.json_response({"id": conversation.id, "object": "conversation.deleted", "deleted": True})

    async def _items(self, request: web.Request) -> web.Response:
        return page_of(request, self.find(request.match_info["id"]).items)

    async def _add_items(self, request: web.Request) -> web.Response:
        conversation = self.find(request.match_info["id"])
        added = input_items((await body_of(request)).get("items") or [])
        if len(added) > _MAX_ITEMS_AT_ONCE:
            raise invalid_payload(f"At most {_MAX_ITEMS_AT_ONCE} items at a time.", "/items")
        conversation.items += added
        return web.json_response({"object": "list", "data": added, "has_more": False})


def input_items(given: object) -> list[Json]:
    """The items of an `input`, each with an id. Raises `RefusedError`."""
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": given}]
    if not isinstance(given, list):
        raise invalid_payload("Value should be a string or an array.", "/input")
    for at, item in enumerate(given):
        if not isinstance(item, dict) or not item.get("type"):
            raise invalid_payload('required: Required properties ["type"] are not present', f"/input/{at}")
    return [_with_id(item) for item in given]


def _with_id(item: Mapping[str, Any]) -> Json:
    kind = str(item["type"])
    content = item.get("content")
    made: Json = {"id": f"{_PREFIXES.get(kind, 'item')}_{secrets.token_hex(24)}", "status": "completed", **item}
    if kind == "message" and isinstance(content, str):
        made["content"] = [{"type": "input_text", "text": content}]
    return made
