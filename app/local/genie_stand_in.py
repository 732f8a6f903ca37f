"""A stand-in Genie space: the Conversation API, with scripted understanding of questions and SQL that really runs."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from app.local.chart_png import bars_png
from app.local.genie_messages import GenieMessage
from app.local.genie_plans import USUAL, MessagePlan, planned
from app.local.genie_questions import Clarification, KnownQuestion, known_question
from app.local.stand_in_replies import RefusedRequestError, json_of
from app.local.warehouse_stand_in import WAREHOUSE_ID, WarehouseStandIn

SPACE_ID = "01f05a1e000010008000000000000001"
_MAX_CONVERSATIONS = 200
_PAGE_SIZE = 20
_EXAMPLE = "How did revenue develop by month?"


@dataclass(frozen=True, slots=True)
class StandInSpace:
    space_id: str = SPACE_ID
    title: str = "Sales"
    description: str = "Orders, items, customers, products and suppliers of a wholesaler, 1992 to 1998 (TPC-H samples)."

    def as_json(self) -> dict[str, Any]:
        told = {"space_id": self.space_id, "title": self.title, "description": self.description}
        return told | {"warehouse_id": WAREHOUSE_ID}


@dataclass(slots=True)
class _Conversation:
    space_id: str
    title: str
    messages: dict[str, GenieMessage] = field(default_factory=dict)
    about: KnownQuestion | Clarification | None = None


class GenieStandIn:
    """The Genie spaces of the stand-in workspace. What tests set and look at:

    `plans`: how the next messages go, one each, before the words of the question decide; `release`: lets a message
    leave the state that its plan holds it in; `refusals`: raised by the next questions, one each;
    `lost_replies`: so many next questions are taken, and their replies lost; `failing_looks`: so many next looks fail;
    `asked`: the questions of all messages; `ratings` of messages, with their comments; `deleted`: ids of
    conversations; `overlaps`: questions that came while the one before in their conversation had not ended; `spaces`;
    `space_details_refused`: as for CAN RUN.
    """

    def __init__(self, warehouse: WarehouseStandIn, spaces: Sequence[StandInSpace] = (StandInSpace(),)) -> None:
        self.spaces = list(spaces)
        self.space_details_refused = False
        self.plans: deque[MessagePlan] = deque()
        self.refusals: deque[RefusedRequestError] = deque()
        self.asked: list[str] = []
        self.lost_replies = 0
        self.failing_looks = 0
        self.deleted: list[str] = []
        self.ratings: list[tuple[str, str]] = []
        self.overlaps = 0
        self._warehouse = warehouse
        self._conversations: dict[str, _Conversation] = {}
        self._released: set[str] = set()
        self._throttled: set[str] = set()

    def routes(self) -> Sequence[web.RouteDef]:
        space = "/api/2.0/genie/spaces/{space}"
        conversation = f"{space}/conversations/{{conversation}}"
        message = f"{conversation}/messages/{{message}}"
        attachment = f"{message}/attachments/{{attachment}}"
        return (
            web.get("/api/2.0/genie/spaces", self._list_spaces),
            web.get(space, self._get_space),
            web.post(f"{space}/start-conversation", self._start),
            web.get(f"{space}/conversations", self._list_conversations),
            web.delete(conversation, self._delete),
            web.post(f"{conversation}/messages", self._create),
            web.get(f"{conversation}/messages", self._list_messages),
            web.get(message, self._get),
            web.post(f"{message}/feedback", self._rate),
            web.get(f"{attachment}/query-result", self._query_result),
            web.post(f"{attachment}/execute-query", self._execute_query),
            web.get(f"{attachment}/download-visualization", self._download_visualization),
        )

    def release(self, state: str) -> None:
        self._released.add(state)

    def open(self, space_id: str, content: str) -> GenieMessage:
        """The first message of a new conversation."""
        conversation_id = _new_id()
        conversation = self._conversations[conversation_id] = _Conversation(space_id, content[:100])
        while len(self._conversations) > _MAX_CONVERSATIONS:
            del self._conversations[next(iter(self._conversations))]
        return self._ask(conversation, conversation_id, content)

    def go_on(self, conversation_id: str, content: str) -> GenieMessage:
        return self._ask(self._conversations[conversation_id], conversation_id, content)

    def messages_of(self, space_id: str, conversation_id: str) -> list[GenieMessage]:
        """Raises `RefusedRequestError` where there is no such conversation."""
        return list(self._found(space_id, conversation_id).messages.values())

    def advance(self, message: GenieMessage) -> None:
        message.advance(self._warehouse, self._released.__contains__)

    def cancel(self, message: GenieMessage) -> None:
        if not message.ended:
            message.status = "CANCELLED"
            if message.statement is not None:
                self._warehouse.cancel(message.statement)

    def messages(self) -> list[GenieMessage]:
        return [message for one in self._conversations.values() for message in one.messages.values()]

    def delete(self, conversation_id: str) -> None:
        del self._conversations[conversation_id]
        self.deleted.append(conversation_id)

    async def _list_spaces(self, request: web.Request) -> web.Response:
        first = int(request.query.get("page_token") or 0)
        size = min(int(request.query.get("page_size") or 20), 100)
        told: dict[str, Any] = {"spaces": [space.as_json() for space in self.spaces[first : first + size]]}
        if first + size < len(self.spaces):
            told["next_page_token"] = str(first + size)
        return web.json_response(told)

    async def _get_space(self, request: web.Request) -> web.Response:
        space = self._space(request)
        if self.space_details_refused:
            raise RefusedRequestError(403, "PERMISSION_DENIED", "You need CAN EDIT permission to read this space.")
        return web.json_response(space.as_json())

    async def _start(self, request: web.Request) -> web.Response:
        space = self._space(request)
        content = await self._content(request)
        message = self.open(space.space_id, content)
        message.visualize = await _visualize(request)
        self._lose_reply(request)
        conversation_id = message.conversation_id
        return web.json_response(
            {
                "conversation_id": conversation_id,
                "message_id": message.message_id,
                "conversation": _conversation_json(conversation_id, self._conversations[conversation_id]),
                "message": message.as_json(),
            }
        )

    async def _create(self, request: web.Request) -> web.Response:
        conversation = self._conversation(request)
        content = await self._content(request)
        overlapping = any(not message.ended for message in conversation.messages.values())
        message = self._ask(conversation, request.match_info["conversation"], content)
        message.visualize = await _visualize(request)
        if overlapping:
            self.overlaps += 1
            message.status = "FAILED"
            message.error = ("BLOCK_MULTIPLE_EXECUTIONS_EXCEPTION", "Another message of this conversation is running.")
        self._lose_reply(request)
        return web.json_response(message.as_json())

    def _lose_reply(self, request: web.Request) -> None:
        if self.lost_replies and request.transport is not None:
            self.lost_replies -= 1
            request.transport.abort()

    async def _content(self, request: web.Request) -> str:
        content = (await json_of(request)).get("content")
        if not isinstance(content, str) or not content.strip():
            raise RefusedRequestError(400, "INVALID_PARAMETER_VALUE", "The content is missing.")
        if self.refusals:
            raise self.refusals.popleft()
        if planned(content)[1].refused and content not in self._throttled:
            self._throttled.add(content)
            raise RefusedRequestError(429, "RESOURCE_EXHAUSTED", "Too many questions; try again later.", 2)
        self._throttled.discard(content)
        return content

    def _ask(self, conversation: _Conversation, conversation_id: str, content: str) -> GenieMessage:
        question, plan = planned(content)
        if plan is not USUAL and not question:
            question = _EXAMPLE
        understood = known_question(question, conversation.about)
        meaning = None if understood == "unknown" else understood
        if meaning is not None:
            conversation.about = meaning
        self.asked.append(content)
        message = GenieMessage(
            conversation.space_id,
            conversation_id,
            _new_id(),
            content,
            self.plans.popleft() if self.plans else plan,
            meaning,
        )
        conversation.messages[message.message_id] = message
        return message

    async def _get(self, request: web.Request) -> web.Response:
        message = self._message(request)
        if self.failing_looks:
            self.failing_looks -= 1
            raise RefusedRequestError(503, "TEMPORARILY_UNAVAILABLE", "The service is temporarily unavailable.")
        self.advance(message)
        return web.json_response(message.as_json())

    async def _query_result(self, request: web.Request) -> web.Response:
        message = self._message(request)
        statement = message.statement
        if statement is None or request.match_info["attachment"] != message.attachment_id("query"):
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", "The attachment has no query result.")
        if message.status == "QUERY_RESULT_EXPIRED":
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", "The query result has expired.")
        self._warehouse.poll(statement)
        return web.json_response({"statement_response": self._warehouse.response(statement)})

    async def _execute_query(self, request: web.Request) -> web.Response:
        message = self._message(request)
        if message.sql is None or request.match_info["attachment"] != message.attachment_id("query"):
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", "The attachment has no query.")
        message.statement = self._warehouse.start(message.sql)
        if message.status == "QUERY_RESULT_EXPIRED":
            message.plan = replace(message.plan, end="COMPLETED")
            message.status = "EXECUTING_QUERY"
        return web.json_response({"statement_response": self._warehouse.response(message.statement)})

    async def _download_visualization(self, request: web.Request) -> web.Response:
        message = self._message(request)
        if not message.chart_values or request.match_info["attachment"] != message.attachment_id("viz"):
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", "The attachment is no visualization.")
        return web.Response(body=bars_png(message.chart_values), content_type="application/octet-stream")

    async def _rate(self, request: web.Request) -> web.Response:
        message = self._message(request)
        body = await json_of(request)
        if body.get("rating") not in {"POSITIVE", "NEGATIVE", "NONE"}:
            raise RefusedRequestError(400, "INVALID_PARAMETER_VALUE", "The rating is POSITIVE, NEGATIVE or NONE.")
        message.rating, message.comment = body["rating"], str(body.get("comment") or "")
        self.ratings.append((message.rating, message.comment))
        return web.json_response({})

    async def _delete(self, request: web.Request) -> web.Response:
        self._conversation(request)
        self.delete(request.match_info["conversation"])
        return web.json_response({})

    async def _list_conversations(self, request: web.Request) -> web.Response:
        space = self._space(request)
        found = [
            _conversation_json(one, kept)
            for one, kept in reversed(self._conversations.items())
            if kept.space_id == space.space_id
        ]
        return web.json_response({"conversations": found})

    async def _list_messages(self, request: web.Request) -> web.Response:
        conversation = self._conversation(request)
        first = int(request.query.get("page_token") or 0)
        page = list(conversation.messages.values())[first : first + _PAGE_SIZE]
        told: dict[str, Any] = {"messages": [message.as_json() for message in page]}
        if first + _PAGE_SIZE < len(conversation.messages):
            told["next_page_token"] = str(first + _PAGE_SIZE)
        return web.json_response(told)

    def _space(self, request: web.Request) -> StandInSpace:
        asked = request.match_info["space"]
        for space in self.spaces:
            if space.space_id == asked:
                return space
        raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", f"Unable to find space [{asked}].")

    def _conversation(self, request: web.Request) -> _Conversation:
        return self._found(self._space(request).space_id, request.match_info["conversation"])

    def _found(self, space_id: str, conversation_id: str) -> _Conversation:
        conversation = self._conversations.get(conversation_id)
        if conversation is None or conversation.space_id != space_id:
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", "The conversation does not exist.")
        return conversation

    def _message(self, request: web.Request) -> GenieMessage:
        message = self._conversation(request).messages.get(request.match_info["message"])
        if message is None:
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", "The message does not exist.")
        return message


async def _visualize(request: web.Request) -> bool:
    return (await json_of(request)).get("enable_visualization") is True


def _conversation_json(conversation_id: str, conversation: _Conversation) -> dict[str, Any]:
    return {
        "id": conversation_id,
        "conversation_id": conversation_id,
        "space_id": conversation.space_id,
        "title": conversation.title,
        "created_timestamp": min(message.created_ms for message in conversation.messages.values()),
        "user_id": 1,
    }


def _new_id() -> str:
    return secrets.token_hex(16)
