"""A request of the Responses API: `POST /responses`, and `POST /invocations` of the task `agent/v1/responses`."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from agent_server.protocol.input_items import read_input
from agent_server.protocol.request_parameters import check_parameters, refused


@dataclass(frozen=True, slots=True)
class ApprovalResponse:
    """What a person decided about the `mcp_approval_request` of this id."""

    request_id: str
    approve: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """`body` is what a handler is given: `input` is a list of items that have a type, and `stream` is not in it. Empty
    ids are those that the request does not name. `conversation_id` is that of `conversation`, or of MLflow's `context`.
    """

    body: dict[str, Any] = field(repr=False)
    stream: bool = False
    background: bool = False
    store: bool | None = None
    previous_response_id: str = ""
    conversation_id: str = ""
    model: str = ""
    instructions: str = field(default="", repr=False)
    approvals: tuple[ApprovalResponse, ...] = ()

    @property
    def input(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.body["input"]
        return items

    @property
    def custom_inputs(self) -> dict[str, Any]:
        return self.body.get("custom_inputs") or {}

    @property
    def asks_for_storage(self) -> bool:
        """It can only be answered where responses are kept."""
        named = bool(self.previous_response_id or self.conversation_id or self.approvals)
        return self.background or self.store is True or named


def parse_responses_request(body: Any) -> ResponsesRequest:  # noqa: ANN401 - any JSON
    """Raises `ApiError` with the `param` that is at fault."""
    if not isinstance(body, dict):
        raise refused("", 'The body must be a JSON object, for example {"input": "Hello"}.')
    if "input" not in body and "messages" in body:
        raise refused("input", "input is missing. Requests with messages go to /chat/completions.")
    if "input" not in body:
        raise refused("input", "input is missing.", code="missing_required_parameter")
    check_parameters(body)
    items = read_input(body["input"])
    given = {name: value for name, value in body.items() if value is not None and name != "stream"}
    previous, conversation = given.get("previous_response_id", ""), _conversation_id(given)
    background, store = given.get("background", False), given.get("store")
    if previous and "conversation" in given:
        raise refused("conversation", "Of conversation and previous_response_id only one can be given.")
    if background and store is False:
        raise refused("store", "A response in the background is stored: store cannot be false.")
    return ResponsesRequest(
        body={**given, "input": items},
        stream=bool(body.get("stream")),
        background=background,
        store=store,
        previous_response_id=previous,
        conversation_id=conversation,
        model=given.get("model", ""),
        instructions=given.get("instructions", ""),
        approvals=_approvals(items),
    )


def _conversation_id(given: dict[str, Any]) -> str:
    named = given.get("conversation", "")
    named = named["id"] if isinstance(named, dict) else named
    in_context = given.get("context", {}).get("conversation_id") or ""
    if named and in_context and named != in_context:
        raise refused("context.conversation_id", "conversation and context.conversation_id name two conversations.")
    return str(named or in_context)


def _approvals(items: list[dict[str, Any]]) -> tuple[ApprovalResponse, ...]:
    """Those at the end: earlier ones are history."""
    last = takewhile(lambda item: item["type"] == "mcp_approval_response", reversed(items))
    found = [
        ApprovalResponse(item["approval_request_id"], item["approve"], str(item.get("reason") or "")) for item in last
    ]
    return tuple(reversed(found))
