"""Chat completions as Databricks serving endpoints speak them: foundation models, external models and chat agents.

https://docs.databricks.com/aws/en/machine-learning/foundation-model-apis/api-reference
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from app.model.answer import Arrived, source_of
from app.model.errors import content_filter_categories, failure_of_payload
from app.model.failures import ContentFiltered, StreamCut
from app.model.json_values import count, items, mapping, text
from app.model.types import Completed, Message, ModelRequest, ToolCall, Usage

PATH = "/chat/completions"


def request_body(
    endpoint: str,
    request: ModelRequest,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    ask_for_usage: bool = True,
) -> dict[str, Any]:
    claude = "claude" in endpoint.lower()
    body: dict[str, Any] = {
        "model": endpoint,
        "messages": [_message(message, claude=claude) for message in request.messages],
        "stream": True,
    }
    if ask_for_usage:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                },
            }
            for tool in request.tools
        ]
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    if temperature is not None:
        body["temperature"] = temperature
    return body


def _message(message: Message, *, claude: bool) -> dict[str, Any]:
    sent: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        # Claude endpoints refuse empty content beside tool calls.
        sent["content"] = message.content or (" " if claude else "")
        sent["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        sent["tool_call_id"] = message.tool_call_id
    return sent


@dataclass(slots=True)
class _PartialCall:
    id: str = ""
    name: str = ""
    arguments: str = ""


class ChatCompletionReader:
    def __init__(self) -> None:
        self.arrived = Arrived()
        self._finish_reason = ""
        self._calls: dict[int, _PartialCall] = {}
        self._usage: Usage | None = None
        self._filtered: tuple[str, ...] = ()
        self._agent_message_id = ""

    @property
    def finished(self) -> bool:
        return bool(self._finish_reason)

    def read(self, payload: dict[str, Any]) -> None:
        if payload.get("error") or payload.get("error_code"):
            raise failure_of_payload(payload)
        for choice in items(payload.get("choices"))[:1]:
            self._take_choice(mapping(choice), "delta")
        if "choices" not in payload and "delta" in payload:
            self._take_agent_message(mapping(payload["delta"]))
        if usage := mapping(payload.get("usage")):
            self._usage = Usage(count(usage.get("prompt_tokens")), count(usage.get("completion_tokens")))

    def read_whole(self, body: dict[str, Any]) -> None:
        messages = items(body.get("messages"))
        self.read(body)
        for choice in items(body.get("choices"))[:1]:
            self._take_choice(mapping(choice), "message")
        for message in messages:
            self._take_agent_message(mapping(message))
        if messages or body.get("choices"):
            self._finish_reason = self._finish_reason or "stop"

    def end(self, *, said_done: bool) -> Completed:
        if self._finish_reason == "content_filter":
            named = ", ".join(self._filtered) or "nothing named"
            raise ContentFiltered(f"the answer was filtered: {named}", side="output", categories=self._filtered)
        if not (self._finish_reason or said_done or self._agent_message_id):
            raise StreamCut("the stream ended without a finish reason")
        calls = tuple(
            ToolCall(call.id or f"call_{index}", call.name, call.arguments)
            for index, call in sorted(self._calls.items())
            if call.name
        )
        return Completed(calls, truncated=self._finish_reason in ("length", "max_tokens"), usage=self._usage)

    def _take_choice(self, choice: dict[str, Any], key: str) -> None:
        said = mapping(choice.get(key))
        self._take_content(said.get("content"))
        self.arrived.add_text(text(said.get("refusal")))
        for annotation in items(said.get("annotations")):
            self.arrived.add_source(source_of(annotation))
        for call in items(said.get("tool_calls")):
            self._take_call(mapping(call))
        if reason := text(choice.get("finish_reason")):
            self._finish_reason = reason
            self._filtered = content_filter_categories([choice])

    def _take_content(self, content: object) -> None:
        """A string, or parts of which those of type reasoning are not for showing."""
        if isinstance(content, str):
            self.arrived.add_text(content)
            return
        for part in map(mapping, items(content)):
            if part.get("type") in ("text", "output_text"):
                self.arrived.add_text(text(part.get("text")))
                for annotation in [
                    part.get("citation"),
                    *items(part.get("citations")),
                    *items(part.get("annotations")),
                ]:
                    self.arrived.add_source(source_of(annotation))

    def _take_agent_message(self, message: dict[str, Any]) -> None:
        """A chat agent (`agent/v2/chat`) sends its messages whole or in pieces of one id, and runs its tools itself."""
        if message.get("role") != "assistant" or not text(message.get("content")):
            return
        message_id = text(message.get("id")) or "message"
        if self._agent_message_id and message_id != self._agent_message_id:
            self.arrived.add_text("\n\n")
        self._agent_message_id = message_id
        self._take_content(message["content"])

    def _take_call(self, call: dict[str, Any]) -> None:
        index = call.get("index")
        if not isinstance(index, int):
            # Without an index a piece that names an id begins a call and one without goes on with the last.
            index = len(self._calls) if call.get("id") or not self._calls else max(self._calls)
        partial = self._calls.setdefault(index, _PartialCall())
        partial.id = text(call.get("id")) or partial.id
        function = mapping(call.get("function"))
        partial.name = text(function.get("name")) or partial.name
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            partial.arguments = json.dumps(arguments)
        else:
            partial.arguments += text(arguments)
