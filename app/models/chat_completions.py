"""Chat completions as Databricks serving endpoints speak them: foundation models, external models and chat agents.

https://docs.databricks.com/aws/en/machine-learning/foundation-model-apis/api-reference
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from app.common.json_values import count, items, mapping, text, unknown_fields
from app.models.answer_reader import MAX_TOOL_CALLS, EventBuffer, source_of, trace_id_of
from app.models.endpoint_capabilities import ALL_SUPPORTED, EndpointCapabilities
from app.models.error_replies import content_filter_categories, failure_of_payload, field_names
from app.models.model import Completed, Message, ModelRequest, ToolCall, Usage
from app.models.model_errors import ContentFilteredError, StreamInterruptedError, UnreadableAnswerError
from app.models.request_messages import acceptable_messages

PATH = "/chat/completions"

_CALL_FIELDS = frozenset({"id", "type", "index", "function"})
_FUNCTION_FIELDS = frozenset({"name", "arguments"})
_TOOL_FINISH_REASONS = ("tool_calls", "function_call", "tool_use")
_USUAL_FIELDS = frozenset({"role", "content"})
_OTHER_ROLES = ("tool", "function", "user", "system", "developer")


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
        "messages": [_message(message, capabilities.call_fields) for message in messages],
        "stream": supports("stream"),
    }
    if supports("stream_options") and supports("stream"):
        body["stream_options"] = {"include_usage": True}
    if tools:
        body["tools"] = [{"type": "function", "function": tool.function} for tool in tools]
    limit = next((name for name in ("max_tokens", "max_completion_tokens") if supports(name)), None)
    if max_tokens is not None and limit:
        body[limit] = max_tokens
    if temperature is not None and supports("temperature"):
        body["temperature"] = temperature
    if asks_for_trace and supports("databricks_options"):
        body["databricks_options"] = {"return_trace": True}
    if (wanted := request.answer_schema) is not None:
        schema = {"name": wanted.name, "strict": True, "schema": dict(wanted.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _message(message: Message, refused_fields: frozenset[str]) -> dict[str, Any]:
    sent: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        sent["content"] = message.content or None
        sent["tool_calls"] = [_call(call, refused_fields) for call in message.tool_calls]
    if message.tool_call_id is not None:
        sent["tool_call_id"] = message.tool_call_id
    return sent


def _call(call: ToolCall, refused_fields: frozenset[str]) -> dict[str, Any]:
    extra = unknown_fields(dict(call.extra), refused_fields)
    of_function = unknown_fields(mapping(extra.get("function")), refused_fields)
    function = {**of_function, "name": call.name, "arguments": call.arguments or "{}"}
    return {**extra, "id": call.id, "type": "function", "function": function}


@dataclass(slots=True)
class _PartialCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def whole(self, index: int) -> ToolCall:
        # gpt-oss leaves marks of its own format behind: https://github.com/openai/harmony
        name = self.name.partition("<|")[0].strip()
        return ToolCall(self.id or f"call_{index}", name, "".join(self.arguments), self.extra)

    @property
    def has_all_arguments(self) -> bool:
        try:
            return isinstance(json.loads("".join(self.arguments)), dict)
        except (ValueError, RecursionError):
            return False


class ChatCompletionReader:
    """`offered_tools` are those that the caller runs; some endpoints also report the calls that they ran themselves."""

    def __init__(self, offered_tools: frozenset[str] = frozenset()) -> None:
        self.buffer = EventBuffer()
        self.awaits_tools = False
        self.continued_after_end = False
        self._offered = offered_tools
        self._finish_reason = ""
        self._calls: dict[int, _PartialCall] = {}
        self._answered: set[str] = set()
        self._usage: Usage | None = None
        self._filtered: tuple[str, ...] = ()
        self._agent_message_id = ""
        self._trace_id = ""

    @property
    def ended(self) -> bool:
        return bool(self._finish_reason)

    def read(self, payload: dict[str, Any]) -> None:
        if payload.get("error") or payload.get("error_code"):
            raise failure_of_payload(payload)
        if choices := items(payload.get("choices")):
            self._take_choice(mapping(choices[0]))
        elif "choices" not in payload and "delta" in payload:
            self._take_agent_message(mapping(payload["delta"]))
            self._finish_reason = text(payload.get("finish_reason")) or self._finish_reason
        if "databricks_output" in payload or "trace_id" in payload or "metadata" in payload:
            self._trace_id = trace_id_of(payload) or self._trace_id
        if payload.get("usage") and (usage := mapping(payload["usage"])):
            self._usage = Usage(count(usage.get("prompt_tokens")), count(usage.get("completion_tokens")))

    def read_whole(self, body: dict[str, Any]) -> None:
        messages = items(body.get("messages"))
        self.read(body)
        for message in messages:
            self._take_agent_message(mapping(message))
        if not messages and not body.get("choices"):
            raise UnreadableAnswerError(f"the answer has no choices, but {field_names(body)}")
        self._finish_reason = self._finish_reason or "stop"

    def end(self, *, done_received: bool) -> Completed:
        if self._finish_reason == "content_filter":
            named = ", ".join(self._filtered) or "nothing named"
            raise ContentFilteredError(f"the answer was filtered: {named}", side="output", categories=self._filtered)
        if not (self._finish_reason or done_received or self._agent_message_id):
            raise StreamInterruptedError("the stream ended without a finish reason")
        truncated = self._finish_reason in ("length", "max_tokens")
        return Completed(self._our_calls(), truncated, self._usage, self._trace_id)

    def _our_calls(self) -> tuple[ToolCall, ...]:
        named = [call.whole(index) for index, call in sorted(self._calls.items()) if call.name]
        ours = tuple(call for call in named if call.name in self._offered and call.id not in self._answered)
        if not ours and self._offered and self._finish_reason in _TOOL_FINISH_REASONS and not self.buffer.any_text:
            # The model called a tool that does not exist: the agent tells it so, instead of ending without an answer.
            return tuple(call for call in named if call.id not in self._answered)
        return ours

    def _take_choice(self, choice: dict[str, Any]) -> None:
        """`message` stands in place of `delta` where an answer is not streamed."""
        if said := mapping(choice["delta"] if "delta" in choice else choice.get("message")):
            role = said.get("role")
            if role is not None and role != "assistant" and role in _OTHER_ROLES:
                self._take_tool_result(said)
            else:
                self._take_delta(said)
        if (reason := choice.get("finish_reason")) and isinstance(reason, str):
            self._finish_reason = reason
            self._filtered = content_filter_categories([choice])
            self.awaits_tools = reason in _TOOL_FINISH_REASONS and not self._our_calls()
            self.buffer.flush()

    def _take_delta(self, said: dict[str, Any]) -> None:
        if content := said.get("content"):
            if self._finish_reason:
                self._reopen()
            self._take_content(content)
        if len(said) <= len(_USUAL_FIELDS) and said.keys() <= _USUAL_FIELDS:
            return
        if refusal := text(said.get("refusal")):
            self._reopen()
            self.buffer.add_text(refusal)
        for annotation in items(said.get("annotations")):
            self.buffer.add_source(source_of(annotation))
        for call in items(said.get("tool_calls")):
            self._reopen()
            self._take_call(mapping(call))

    def _reopen(self) -> None:
        if self._finish_reason:
            self._finish_reason = ""
            self.continued_after_end = True
            self.awaits_tools = False

    def _take_tool_result(self, said: dict[str, Any]) -> None:
        """The result of a tool that the server ran, or a message of another role: neither is shown."""
        self._reopen()
        self._answered.add(text(said.get("tool_call_id")))
        self.buffer.tool_called()

    def _take_content(self, content: object) -> None:
        """A string, or parts; those of type reasoning are not shown."""
        if isinstance(content, str):
            self.buffer.add_text(content)
            return
        for part in map(mapping, items(content)):
            if part.get("type") in ("text", "output_text"):
                self.buffer.add_text(text(part.get("text")))
                for annotation in [
                    part.get("citation"),
                    *items(part.get("citations")),
                    *items(part.get("annotations")),
                ]:
                    self.buffer.add_source(source_of(annotation))

    def _take_agent_message(self, message: dict[str, Any]) -> None:
        """A chat agent (`agent/v2/chat`) sends its messages whole or in pieces of one id, and runs its tools itself."""
        self.buffer.drop_names()
        if message.get("tool_calls") or message.get("role") == "tool":
            self.buffer.tool_called()
        if message.get("role") != "assistant" or not message.get("content"):
            return
        self._reopen()
        message_id = text(message.get("id")) or "message"
        if self._agent_message_id and message_id != self._agent_message_id:
            self.buffer.end_message()
        self._agent_message_id = message_id
        self._take_content(message["content"])

    def _take_call(self, call: dict[str, Any]) -> None:
        function = mapping(call.get("function"))
        index = self._index_of(call, text(function.get("name")))
        if index not in self._calls:
            if len(self._calls) == MAX_TOOL_CALLS:
                return
            self.buffer.tool_called()
        partial = self._calls.setdefault(index, _PartialCall())
        partial.id = text(call.get("id")) or partial.id
        partial.name = text(function.get("name")) or partial.name
        partial.extra |= unknown_fields(call, _CALL_FIELDS)
        if more := unknown_fields(function, _FUNCTION_FIELDS):
            partial.extra["function"] = partial.extra.get("function", {}) | more
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            partial.arguments = [json.dumps(arguments)]
        elif isinstance(arguments, str):
            if partial.arguments == ["{}"] and arguments.startswith("{"):
                # Some gateways begin every call of Claude with the empty input that Anthropic's API begins with.
                partial.arguments = []
            partial.arguments.append(arguments)

    def _index_of(self, call: dict[str, Any], name: str) -> int:
        """Some endpoints leave the index out: then a name or another id begins a call. Some number all calls 0: then
        another id does, or another name after a whole call. Some count the pieces of one call.
        """
        begins = bool(name)
        index, call_id = call.get("index"), text(call.get("id"))
        at = index if isinstance(index, int) else max(self._calls, default=0)
        known = self._calls.get(at)
        if known is None:
            return at if begins or call_id or not self._calls else max(self._calls)
        if begins and known.name not in ("", name) and known.has_all_arguments:
            return max(self._calls) + 1
        another_id = bool(known.id and call_id and known.id != call_id)
        begins_another = begins and another_id if isinstance(index, int) else another_id or (begins and not call_id)
        return max(self._calls) + 1 if begins_another else at
