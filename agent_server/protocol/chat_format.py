"""The task `agent/v1/chat`: handlers take requests of chat completions, and give completions or chunks."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from agent_server.protocol.api_error import ApiError
from agent_server.protocol.chat_messages import text_of_content
from agent_server.protocol.chat_request import chat_body_of
from agent_server.protocol.handler_events import HandlerEventError
from agent_server.protocol.responses_request import ResponsesRequest

Json = dict[str, Any]

_INCOMPLETE = {"length": "max_output_tokens", "max_tokens": "max_output_tokens", "content_filter": "content_filter"}
# As MLflow, Databricks and others name what is thought before the answer.
_REASONING = ("reasoning_content", "reasoning")


class ChatFormat:
    is_responses = False

    def request(self, request: ResponsesRequest) -> Json:
        return chat_body_of(request)

    def reader(self) -> ChatChunkReader:
        return ChatChunkReader()

    def joined(self, events: Sequence[Json]) -> Json:
        joined = _JoinedChunks()
        for event in events:
            joined.add(event)
        return joined.completion()

    def events_of(self, answer: Json) -> Iterable[Json]:
        completion = whole_completion(answer)
        choice = completion["choices"][0]
        delta = dict(choice["message"])
        if calls := delta.get("tool_calls"):
            delta["tool_calls"] = [{"index": number, **call} for number, call in enumerate(calls)]
        chunk = {name: value for name, value in completion.items() if name not in ("object", "choices")}
        return [{**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": choice["finish_reason"]}]}]


class ChatChunkReader:
    """Chunks as events of the Responses API; all text of one stream is one message."""

    def __init__(self) -> None:
        self._calls = ToolCallPieces()
        self._finish_reason = ""
        self._response: Json = {}

    def read(self, event: Json) -> Sequence[Json]:
        return list(self._read(event))

    def _read(self, chunk: Json) -> Iterator[Json]:
        if error := chunk_error(chunk):
            yield {"type": "error", "message": error.message, "code": error.code, "param": error.param}
            return
        for name in ("usage", "custom_outputs", "model"):
            if chunk.get(name):
                self._response[name] = chunk[name]
        for choice in _choices(chunk)[:1]:
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            yield from self._delta(choice["delta"])

    def _delta(self, delta: Json) -> Iterator[Json]:
        for name in _REASONING:
            if isinstance(thought := delta.get(name), str) and thought:
                yield {"type": "response.reasoning_summary_text.delta", "delta": thought}
        yield from content_events(delta.get("content"))
        if refusal := delta.get("refusal"):
            yield {"type": "response.refusal.delta", "delta": refusal}
        for annotation in delta.get("annotations") or ():
            if isinstance(annotation, dict):
                inner = annotation.get("url_citation")
                flat = {**inner, "type": "url_citation"} if isinstance(inner, dict) else annotation
                yield {"type": "response.output_text.annotation.added", "annotation": flat}
        self._calls.add(delta.get("tool_calls"))

    def end(self) -> Sequence[Json]:
        events = [{"type": "response.output_item.done", "item": item} for item in self._calls.items()]
        response = dict(self._response)
        if reason := _INCOMPLETE.get(self._finish_reason):
            response |= {"status": "incomplete", "incomplete_details": {"reason": reason}}
        return [*events, {"type": "response.completed", "response": response}]


def content_events(content: Any, item_id: str | None = None) -> Iterator[Json]:  # noqa: ANN401 - any JSON
    """A string, or Databricks' parts, of which some are reasoning."""
    for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        if not isinstance(part, dict):
            continue
        if part.get("type") == "reasoning":
            if thought := text_of_content(part.get("summary")):
                yield {"type": "response.reasoning_summary_text.delta", "delta": thought}
        elif isinstance(text := part.get("text"), str) and text:
            yield {"type": "response.output_text.delta", "item_id": item_id, "delta": text}


class ToolCallPieces:
    """Calls as they come in pieces: those of one index, or of one id where there is no index, belong together."""

    def __init__(self) -> None:
        self._calls: dict[int | str, Json] = {}

    def add(self, pieces: Any) -> None:  # noqa: ANN401 - any JSON
        for number, piece in enumerate(pieces if isinstance(pieces, list) else ()):
            if not isinstance(piece, dict):
                raise HandlerEventError("Each of tool_calls must be an object.")
            index = piece.get("index")
            key = index if isinstance(index, int) else piece.get("id") or number
            call = self._calls.setdefault(key, {"id": "", "name": "", "arguments": ""})
            function = piece.get("function")
            function = function if isinstance(function, dict) else {}
            call["id"] = piece.get("id") or call["id"]
            call["name"] = function.get("name") or call["name"]
            call["arguments"] += text_of_content(function.get("arguments"))

    def items(self) -> list[Json]:
        calls = [call for call in self._calls.values() if call["name"]]
        return [
            {
                "type": "function_call",
                "call_id": call["id"] or f"call_{uuid4().hex}",
                "name": call["name"],
                "arguments": call["arguments"] or "{}",
            }
            for call in calls
        ]

    def tool_calls(self) -> list[Json]:
        return [
            {"id": i["call_id"], "type": "function", "function": {"name": i["name"], "arguments": i["arguments"]}}
            for i in self.items()
        ]


class _JoinedChunks:
    def __init__(self) -> None:
        self._text: dict[str, list[str]] = {name: [] for name in ("content", "refusal", *_REASONING)}
        self._calls = ToolCallPieces()
        self._annotations: list[Json] = []
        self._finish_reason = ""
        self._rest: Json = {}

    def add(self, chunk: Json) -> None:
        if error := chunk_error(chunk):
            raise error
        self._rest |= {name: value for name, value in chunk.items() if name not in ("object", "choices") and value}
        for choice in _choices(chunk)[:1]:
            delta = choice["delta"]
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            for name, pieces in self._text.items():
                pieces.append(text_of_content(delta.get(name)))
            self._annotations += delta.get("annotations") or ()
            self._calls.add(delta.get("tool_calls"))

    def completion(self) -> Json:
        texts = {name: "".join(pieces) for name, pieces in self._text.items()}
        calls = self._calls.tool_calls()
        message: Json = {"role": "assistant", **{name: text for name, text in texts.items() if text}}
        message |= {"tool_calls": calls} if calls else {}
        message |= {"annotations": self._annotations} if self._annotations else {}
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason or None}
        return whole_completion({**self._rest, "choices": [choice]})


def chunk_error(chunk: Json) -> ApiError | None:
    """What a handler says in place of a chunk."""
    said = chunk.get("error")
    if not said:
        return None
    fields = said if isinstance(said, dict) else {"message": said}
    message, code, param = (fields.get(name) for name in ("message", "code", "param"))
    return ApiError(
        500,
        message if isinstance(message, str) and message else "The agent failed.",
        type="server_error",
        code=code if isinstance(code, str) else "server_error",
        param=param if isinstance(param, str) else None,
    )


def _choices(chunk: Json) -> list[Json]:
    choices = chunk.get("choices")
    if choices is None and isinstance(chunk.get("usage"), dict):
        return []
    if not isinstance(choices, list) or not all(isinstance(each, dict) for each in choices):
        raise HandlerEventError("A chunk of chat completions needs a list of choices.")
    if not all(isinstance(each.get("delta"), dict) for each in choices):
        raise HandlerEventError("Each choice of a chunk needs a delta that is an object.")
    return choices


def whole_completion(answer: Json, model: str = "") -> Json:
    """With all that openai's types require. Raises `HandlerEventError` for what is no completion."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(each, dict) for each in choices):
        raise HandlerEventError("A completion needs a list of at least one choice.")
    if not all(isinstance(each.get("message"), dict) for each in choices):
        raise HandlerEventError("Each choice of a completion needs a message that is an object.")
    return {
        **_envelope(answer, "chat.completion", model),
        "choices": [
            {
                "index": number,
                "logprobs": None,
                **choice,
                "message": {"role": "assistant", "content": None, **choice["message"]},
                "finish_reason": choice.get("finish_reason") or _reason(choice["message"]),
            }
            for number, choice in enumerate(choices)
        ],
    }


def _reason(message: Json) -> str:
    return "tool_calls" if message.get("tool_calls") else "stop"


class WholeChunks:
    """Chunks of a handler with all that openai's types require, of one id. openai's client for Node raises without
    a role and a finish reason.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._first: Json = {}
        self._has_role = False
        self._has_ended = False
        self._called = False

    def add(self, chunk: Json) -> Json:
        """Raises `HandlerEventError` for what is no chunk."""
        choices = [{"index": 0, "finish_reason": None, **choice} for choice in _choices(chunk)]
        if choices and not self._has_role:
            self._has_role = True
            choices[0]["delta"] = {"role": "assistant", **choices[0]["delta"]}
        self._has_ended |= any(choice["finish_reason"] for choice in choices)
        self._called |= any(choice["delta"].get("tool_calls") for choice in choices)
        if not self._first:
            envelope = _envelope(chunk, "chat.completion.chunk", self._model)
            self._first = {name: envelope[name] for name in ("id", "object", "created", "model")}
        return {**chunk, **self._first, "choices": choices}

    def end(self) -> list[Json]:
        if self._has_ended:
            return []
        first = self._first or _envelope({}, "chat.completion.chunk", self._model)
        reason = "tool_calls" if self._called else "stop"
        delta = {} if self._has_role else {"role": "assistant", "content": ""}
        return [{**first, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}]


def _envelope(said: Json, kind: str, model: str) -> Json:
    named = {name: value for name, value in said.items() if value}
    made = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": model}
    return {**made, **named, "object": kind}
