"""The Responses API as Databricks agents (`agent/v1/responses`) and OpenAI models behind serving endpoints speak it.

https://mlflow.org/docs/latest/genai/serving/responses-agent
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.common.json_values import count, items, mapping, text, unknown_fields
from app.models.answer_reader import MAX_TOOL_CALLS, EventBuffer, source_of, trace_id_of
from app.models.endpoint_capabilities import ALL_SUPPORTED, EndpointCapabilities
from app.models.error_replies import failure_of_payload, field_names
from app.models.model import Completed, Message, ModelRequest, ToolCall, Usage
from app.models.model_errors import ContentFilteredError, StreamInterruptedError, UnreadableAnswerError
from app.models.request_messages import acceptable_messages

PATH = "/responses"


def request_body(
    endpoint: str,
    request: ModelRequest,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    capabilities: EndpointCapabilities = ALL_SUPPORTED,
    asks_for_trace: bool = False,
) -> dict[str, Any]:
    supports = capabilities.supports
    tools = request.tools if supports("tools") else ()
    messages = acceptable_messages(request.messages, tools_offered=bool(tools), system_role=supports("system"))
    body: dict[str, Any] = {
        "model": endpoint,
        "input": [item for message in messages for item in _input_items(message, capabilities.call_fields)],
        "stream": supports("stream"),
    }
    if tools:
        body["tools"] = [{"type": "function", **tool.function} for tool in tools]
    if max_tokens is not None and supports("max_output_tokens"):
        body["max_output_tokens"] = max_tokens
    if temperature is not None and supports("temperature"):
        body["temperature"] = temperature
    if asks_for_trace and supports("databricks_options"):
        body["databricks_options"] = {"return_trace": True}
    if (wanted := request.answer_schema) is not None:
        schema = {"type": "json_schema", "name": wanted.name, "strict": True, "schema": dict(wanted.schema)}
        body["text"] = {"format": schema}
    return body


def _input_items(message: Message, refused_fields: frozenset[str]) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "function_call_output", "call_id": message.tool_call_id or "", "output": message.content}]
    said = [{"role": message.role, "content": message.content}] if message.content else []
    return said + [
        {
            **unknown_fields(dict(call.extra), refused_fields),
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments or "{}",
        }
        for call in message.tool_calls
    ]


_CALL_FIELDS = frozenset({"type", "id", "call_id", "name", "arguments", "status"})
_FINAL = ("response.completed", "responses.completed", "response.incomplete")
_BRINGS_MORE = (
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.output_item.done",
    "response.output_text.delta",
    "response.refusal.delta",
    "function_call_output",
)


class ResponsesReader:
    """`offered_tools` are those that the caller runs; a Databricks agent also reports the calls that it ran itself."""

    def __init__(self, offered_tools: frozenset[str] = frozenset()) -> None:
        self.buffer = EventBuffer(drops_names=True)
        self.awaits_tools = False
        self.continued_after_end = False
        self._offered = offered_tools
        self._calls: dict[str, ToolCall] = {}
        self._answered: set[str] = set()
        self._blocks: list[list[str]] = [[]]
        self._streamed_items: set[str] = set()
        self._any_item = False
        self._any_delta = False
        self._message_ended_last = False
        self._final: Mapping[str, Any] | None = None
        self._usage: Usage | None = None
        self._trace_id = ""

    @property
    def ended(self) -> bool:
        return self._final is not None

    def read(self, payload: dict[str, Any]) -> None:
        kind = text(payload.get("type"))
        if self._final is not None and kind in _BRINGS_MORE:
            # An agent that asks its model several times sends on the end of each of those answers.
            self._final = None
            self.continued_after_end = True
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            self._take_delta(text(payload.get("item_id")), text(payload.get("delta")))
            return
        self._trace_id = trace_id_of(payload) or self._trace_id
        if kind == "response.output_text.annotation.added":
            self._take_annotation(payload.get("annotation"))
        elif kind == "response.output_item.done":
            self._take_item(mapping(payload.get("item")))
        elif kind == "function_call_output":
            self._take_item(payload)
        elif kind in _FINAL:
            self._take_final(mapping(payload.get("response")))
        elif kind == "response.failed":
            raise failure_of_payload(mapping(payload.get("response")))
        elif kind == "error" or (not kind and (payload.get("error") or payload.get("error_code"))):
            raise failure_of_payload({"error": payload} if kind and not payload.get("error") else payload)

    def read_whole(self, body: dict[str, Any]) -> None:
        if body.get("error") or body.get("error_code"):
            raise failure_of_payload(body)
        if "output" not in body:
            raise UnreadableAnswerError(f"the answer has no output, but {field_names(body)}")
        self._trace_id = trace_id_of(body)
        self._take_final(body)

    def end(self, *, done_received: bool) -> Completed:
        final = self._final or {}
        reason = text(mapping(final.get("incomplete_details")).get("reason"))
        if reason == "content_filter":
            raise ContentFilteredError("the answer was filtered", side="output")
        # Not every agent sends response.completed; a message item that is done ends its answer just as well.
        if self._final is None and not done_received and not self._message_ended_last:
            raise StreamInterruptedError("the stream ended before the answer was complete")
        calls = tuple(
            call for id_, call in self._calls.items() if id_ not in self._answered and call.name in self._offered
        )
        truncated = final.get("status") == "incomplete" or bool(reason)
        return Completed(calls, truncated, self._usage, self._trace_id)

    def _take_delta(self, item_id: str, piece: str) -> None:
        if not piece:
            return
        self._streamed_items.add(item_id)
        self._blocks[-1].append(piece)
        self._any_delta = True
        self._message_ended_last = False
        self.awaits_tools = False
        self.buffer.add_text(piece)

    def _take_annotation(self, annotation: object) -> None:
        self.buffer.add_source(source_of(annotation))
        self._blocks.append([])

    def _take_item(self, item: dict[str, Any]) -> None:
        self._any_item = True
        kind = item.get("type")
        self._message_ended_last = kind == "message"
        if kind == "message":
            self._take_message(item)
        elif kind == "function_call":
            self._take_call(item)
        elif kind == "function_call_output":
            self._answered.add(text(item.get("call_id")))
            self.awaits_tools = False
            self.buffer.tool_called()

    def _take_call(self, item: dict[str, Any]) -> None:
        call_id = text(item.get("call_id")) or text(item.get("id")) or f"call_{len(self._calls)}"
        name = text(item.get("name"))
        if len(self._calls) < MAX_TOOL_CALLS or call_id in self._calls:
            extra = unknown_fields(item, _CALL_FIELDS)
            self._calls[call_id] = ToolCall(call_id, name, text(item.get("arguments")), extra)
        self.awaits_tools = name not in self._offered
        self.buffer.tool_called()

    def _take_message(self, item: dict[str, Any]) -> None:
        if item.get("role") in ("user", "system", "developer", "tool"):
            return
        content = item.get("content")
        parts = [{"text": content}] if isinstance(content, str) else [mapping(part) for part in items(content)]
        whole = "".join(text(part.get("text")) or text(part.get("refusal")) for part in parts)
        if whole and not self._was_streamed(text(item.get("id")), whole):
            self.awaits_tools = False
            self.buffer.add_text(whole)
        for part in parts:
            for annotation in items(part.get("annotations")):
                self.buffer.add_source(source_of(annotation))
        self._blocks = [[]]
        self.buffer.end_message()

    def _was_streamed(self, item_id: str, whole: str) -> bool:
        """An agent repeats in the item what it streamed, with footnotes where it streamed annotations."""
        if item_id and item_id in self._streamed_items:
            return True
        blocks = [block for pieces in self._blocks if (block := "".join(pieces).strip())]
        at = 0
        for block in blocks:
            found = whole.find(block, at)
            if found < 0:
                return False
            at = found + len(block)
        return bool(blocks)

    def _take_final(self, response: dict[str, Any]) -> None:
        if response.get("status") == "failed":
            raise failure_of_payload(response)
        if not self._any_item:
            for item in map(mapping, items(response.get("output"))):
                if not (self._any_delta and item.get("type") == "message"):
                    self._take_item(item)
        # What follows belongs to another answer of the agent's model.
        self._any_item = self._any_delta = False
        self._final = response
        self._trace_id = trace_id_of(response) or self._trace_id
        if usage := mapping(response.get("usage")):
            before = self._usage or Usage(0, 0)
            self._usage = Usage(
                before.input_tokens + count(usage.get("input_tokens")),
                before.output_tokens + count(usage.get("output_tokens")),
            )
        self.buffer.end_message()
