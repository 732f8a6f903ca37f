"""The task `agent/v2/chat`: MLflow's ChatAgent, whose answers are lists of messages.

https://mlflow.org/docs/latest/api_reference/python_api/mlflow.types.html#module-mlflow.types.agent
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from agent_server.protocol.chat_format import ToolCallPieces, content_events
from agent_server.protocol.chat_messages import check_messages, text_of_content
from agent_server.protocol.chat_request import chat_agent_body_of
from agent_server.protocol.handler_events import HandlerEventError
from agent_server.protocol.request_parameters import CONTEXT, FLAG, OBJECT, Check, check_types, refused
from agent_server.protocol.responses_request import ResponsesRequest

Json = dict[str, Any]

_PARAMETERS: Mapping[str, Check] = {"context": CONTEXT, "custom_inputs": OBJECT, "stream": FLAG}
_ROLES = ("assistant", "tool", "system", "user", "developer")


def parse_chat_agent_request(body: Any) -> Json:  # noqa: ANN401 - any JSON
    """What a handler is given: without `stream`. Raises `ApiError` with the `param` that is at fault."""
    if not isinstance(body, dict):
        raise refused("", "The body must be a JSON object with messages.")
    check_types(body, _PARAMETERS, unchecked="messages")
    check_messages(body.get("messages"))
    return {name: value for name, value in body.items() if value is not None and name != "stream"}


class ChatAgentFormat:
    is_responses = False

    def request(self, request: ResponsesRequest) -> Json:
        return chat_agent_body_of(request)

    def reader(self) -> ChatAgentReader:
        return ChatAgentReader()

    def joined(self, events: Sequence[Json]) -> Json:
        messages: dict[str, Json] = {}
        rest: Json = {}
        chunks = ChatAgentChunks()
        for chunk in map(chunks.whole_chunk, events):
            delta = chunk["delta"]
            rest |= {name: value for name, value in chunk.items() if name != "delta" and value}
            known = messages.setdefault(delta["id"], {**delta, "content": None})
            known |= {name: value for name, value in delta.items() if name != "content" and value}
            if delta.get("content") is not None:
                known["content"] = (known["content"] or "") + text_of_content(delta["content"])
        return {"messages": list(messages.values()), **rest}

    def events_of(self, answer: Json) -> Iterable[Json]:
        whole = whole_answer(answer)
        rest = {name: value for name, value in whole.items() if name != "messages"}
        chunks = [{"delta": message} for message in whole["messages"]]
        return [*chunks[:-1], {**chunks[-1], **rest}] if chunks else []


class ChatAgentReader:
    """Messages whole or in pieces of one id, as events of the Responses API. The agent runs its tools itself."""

    def __init__(self) -> None:
        self._chunks = ChatAgentChunks()
        self._response: Json = {}

    def read(self, event: Json) -> Sequence[Json]:
        return list(self._read(self._chunks.whole_chunk(event)))

    def _read(self, chunk: Json) -> Iterator[Json]:
        for name in ("usage", "custom_outputs"):
            if chunk.get(name):
                self._response[name] = chunk[name]
        if chunk.get("finish_reason") == "length":
            self._response |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
        delta = chunk["delta"]
        if delta["role"] == "tool":
            output = text_of_content(delta.get("content"))
            item = {"type": "function_call_output", "call_id": delta["tool_call_id"], "output": output}
            yield {"type": "response.output_item.done", "item": item}
        elif delta["role"] == "assistant":
            yield from content_events(delta.get("content"), delta["id"])
            calls = ToolCallPieces()
            calls.add(delta.get("tool_calls"))
            for item in calls.items():
                yield {"type": "response.output_item.done", "item": item}

    def end(self) -> Sequence[Json]:
        return ({"type": "response.completed", "response": self._response},)


class ChatAgentChunks:
    """MLflow's types require an id in each chunk; where a handler gives none, those of one role in a row share one."""

    def __init__(self) -> None:
        self._made = ("", "")

    def whole_chunk(self, chunk: Json) -> Json:
        """Raises `HandlerEventError` for what is no chunk."""
        delta = chunk.get("delta")
        if not isinstance(delta, dict):
            raise HandlerEventError("A chunk of a chat agent needs a delta that is an object.")
        _check_message(delta)
        if delta.get("id"):
            return chunk
        if self._made[0] != delta["role"]:
            self._made = (delta["role"], uuid4().hex)
        return {**chunk, "delta": {**delta, "id": self._made[1]}}


def whole_answer(answer: Json) -> Json:
    """Each message with an id of its own. Raises `HandlerEventError` for what is no answer of a chat agent."""
    messages = answer.get("messages")
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise HandlerEventError("The answer of a chat agent needs a list of messages.")
    seen: set[str] = set()
    whole = []
    for message in messages:
        _check_message(message)
        named = message.get("id")
        own = named if isinstance(named, str) and named and named not in seen else uuid4().hex
        seen.add(own)
        whole.append({**message, "id": own})
    return {**answer, "messages": whole}


def _check_message(message: Json) -> None:
    role = message.get("role")
    if role not in _ROLES:
        raise HandlerEventError(f"A message of a chat agent needs one of the roles {', '.join(_ROLES)}.")
    if message.get("content") is None and not message.get("tool_calls"):
        raise HandlerEventError("A message of a chat agent needs content or tool_calls.")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise HandlerEventError("A message of the role tool needs a tool_call_id.")
