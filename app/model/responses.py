"""The Responses API as Databricks agents (`agent/v1/responses`) and OpenAI models behind serving endpoints speak it.

https://mlflow.org/docs/latest/genai/serving/responses-agent
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.model.answer import Arrived, source_of
from app.model.errors import failure_of_payload
from app.model.failures import ContentFiltered, StreamCut
from app.model.json_values import count, items, mapping, text
from app.model.types import Completed, Message, ModelRequest, ToolCall, Usage

PATH = "/responses"


def request_body(
    endpoint: str, request: ModelRequest, *, max_tokens: int | None = None, temperature: float | None = None
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": endpoint,
        "input": [item for message in request.messages for item in _input_items(message)],
        "stream": True,
    }
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
            }
            for tool in request.tools
        ]
    if max_tokens is not None:
        body["max_output_tokens"] = max_tokens
    if temperature is not None:
        body["temperature"] = temperature
    return body


def _input_items(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "function_call_output", "call_id": message.tool_call_id or "", "output": message.content}]
    said: list[dict[str, Any]] = []
    if message.content or not message.tool_calls:
        said.append({"role": message.role, "content": message.content})
    return said + [
        {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments or "{}"}
        for call in message.tool_calls
    ]


class ResponsesReader:
    """`offered_tools` are ours to run; an agent also reports the calls that it ran itself."""

    def __init__(self, offered_tools: frozenset[str] = frozenset()) -> None:
        self.arrived = Arrived()
        self._offered = offered_tools
        self._calls: dict[str, ToolCall] = {}
        self._answered: set[str] = set()
        self._blocks: list[str] = [""]
        self._streamed_items: set[str] = set()
        self._between_messages = False
        self._any_item = False
        self._message_ended_last = False
        self._final: Mapping[str, Any] | None = None

    @property
    def finished(self) -> bool:
        return self._final is not None

    def read(self, payload: dict[str, Any]) -> None:
        kind = text(payload.get("type"))
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            self._take_delta(text(payload.get("item_id")), text(payload.get("delta")))
        elif kind == "response.output_text.annotation.added":
            self._take_annotation(payload.get("annotation"))
        elif kind == "response.output_item.done":
            self._take_item(mapping(payload.get("item")))
        elif kind == "function_call_output":
            self._take_item(payload)
        elif kind in ("response.completed", "responses.completed", "response.incomplete"):
            self._take_final(mapping(payload.get("response")))
        elif kind == "response.failed":
            raise failure_of_payload(mapping(payload.get("response")))
        elif kind == "error" or (not kind and (payload.get("error") or payload.get("error_code"))):
            raise failure_of_payload({"error": payload} if kind and not payload.get("error") else payload)

    def read_whole(self, body: dict[str, Any]) -> None:
        if body.get("error") or body.get("error_code"):
            raise failure_of_payload(body)
        if "output" in body:
            self._take_final(body)

    def end(self, *, said_done: bool) -> Completed:
        final = self._final or {}
        reason = text(mapping(final.get("incomplete_details")).get("reason"))
        if reason == "content_filter":
            raise ContentFiltered("the answer was filtered", side="output")
        # Not every agent sends response.completed; a message item that is done ends its answer just as well.
        if self._final is None and not said_done and not self._message_ended_last:
            raise StreamCut("the stream ended before the answer was complete")
        calls = tuple(
            call for id_, call in self._calls.items() if id_ not in self._answered and call.name in self._offered
        )
        usage = mapping(final.get("usage"))
        return Completed(
            calls,
            truncated=final.get("status") == "incomplete" or bool(reason),
            usage=Usage(count(usage.get("input_tokens")), count(usage.get("output_tokens"))) if usage else None,
        )

    def _take_delta(self, item_id: str, piece: str) -> None:
        if not piece:
            return
        self._separate()
        self._streamed_items.add(item_id)
        self._blocks[-1] += piece
        self._message_ended_last = False
        self.arrived.add_text(piece)

    def _take_annotation(self, annotation: object) -> None:
        self.arrived.add_source(source_of(annotation))
        self._blocks.append("")

    def _take_item(self, item: dict[str, Any]) -> None:
        self._any_item = True
        kind = item.get("type")
        self._message_ended_last = kind == "message"
        if kind == "message":
            self._take_message(item)
        elif kind == "function_call":
            call_id = text(item.get("call_id")) or text(item.get("id"))
            self._calls[call_id] = ToolCall(call_id, text(item.get("name")), text(item.get("arguments")))
        elif kind == "function_call_output":
            self._answered.add(text(item.get("call_id")))

    def _take_message(self, item: dict[str, Any]) -> None:
        content = item.get("content")
        parts = [{"text": content}] if isinstance(content, str) else [mapping(part) for part in items(content)]
        whole = "".join(text(part.get("text")) or text(part.get("refusal")) for part in parts)
        if whole and not self._was_streamed(text(item.get("id")), whole):
            self._separate()
            self.arrived.add_text(whole)
        for part in parts:
            for annotation in items(part.get("annotations")):
                self.arrived.add_source(source_of(annotation))
        self._blocks = [""]
        self._between_messages = self.arrived.any_text

    def _was_streamed(self, item_id: str, whole: str) -> bool:
        """An agent repeats in the item what it streamed, with footnotes where it streamed annotations."""
        if item_id and item_id in self._streamed_items:
            return True
        blocks = [block.strip() for block in self._blocks if block.strip()]
        at = 0
        for block in blocks:
            found = whole.find(block, at)
            if found < 0:
                return False
            at = found + len(block)
        return bool(blocks)

    def _separate(self) -> None:
        if self._between_messages:
            self._between_messages = False
            self.arrived.add_text("\n\n")

    def _take_final(self, response: dict[str, Any]) -> None:
        if response.get("status") == "failed":
            raise failure_of_payload(response)
        if not self._any_item:
            streamed = self.arrived.any_text
            for item in map(mapping, items(response.get("output"))):
                if not (streamed and item.get("type") == "message"):
                    self._take_item(item)
        self._final = response
