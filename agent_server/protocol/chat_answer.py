"""A response as chat completions: https://platform.openai.com/docs/api-reference/chat-streaming"""

from __future__ import annotations

from typing import Any

from agent_server.protocol.chat_messages import tool_call

Json = dict[str, Any]

_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


class ChatChunks:
    """The chunks of one answer, from the strict events of its response. Calls of tools come with the end: only then is
    it known which of them the agent made itself.
    """

    def __init__(self, model: str, *, include_usage: bool = False) -> None:
        self._envelope: Json = {"object": "chat.completion.chunk", "model": model}
        self._include_usage = include_usage
        self._text_end = ""
        self._item_id = ""

    def add(self, event: Json) -> list[Json]:
        match event["type"]:
            case "response.output_text.delta":
                return [self._chunk({"content": self._separated(event["item_id"], event["delta"])})]
            case "response.refusal.delta":
                return [self._chunk({"refusal": event["delta"]})]
            case "response.created":
                response = event["response"]
                self._envelope |= {"id": chat_id(response), "created": int(response["created_at"])}
                return [self._chunk({"role": "assistant", "content": ""})]
            case "error":
                error = {"message": event["message"], "type": "server_error", "code": event["code"]}
                return [{"error": {**error, "param": event["param"]}}]
            case "response.completed" | "response.incomplete":
                return self._end(event["response"])
            case _:
                return []

    def _separated(self, item_id: str, delta: str) -> str:
        """Two messages of one answer are paragraphs."""
        before = separator(self._text_end, delta) if item_id != self._item_id else ""
        self._item_id = item_id
        self._text_end = delta[-1:] or self._text_end
        return before + delta

    def _end(self, response: Json) -> list[Json]:
        message = message_of(response)
        calls = [{"index": number, **call} for number, call in enumerate(message.get("tool_calls", ()))]
        chunks = [self._chunk({"tool_calls": calls})] if calls else []
        annotations = {"annotations": message["annotations"]} if message["annotations"] else {}
        last = self._chunk(annotations, finish_reason(response, message))
        if outputs := response.get("custom_outputs"):
            last["custom_outputs"] = outputs
        chunks.append(last)
        if self._include_usage:
            chunks.append({**self._envelope, "choices": [], "usage": chat_usage(response) or _NO_USAGE})
        return chunks

    def _chunk(self, delta: Json, reason: str | None = None) -> Json:
        return {**self._envelope, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def completion_of(response: Json, model: str) -> Json:
    """A whole Response object as `chat.completion`."""
    message = message_of(response)
    choice = {"index": 0, "message": message, "finish_reason": finish_reason(response, message), "logprobs": None}
    completion = {
        "id": chat_id(response),
        "object": "chat.completion",
        "created": int(response["created_at"]),
        "model": model,
        "choices": [choice],
    }
    if usage := chat_usage(response):
        completion["usage"] = usage
    return completion | ({"custom_outputs": outputs} if (outputs := response.get("custom_outputs")) else {})


def chat_id(response: Json) -> str:
    return f"chatcmpl-{response['id'].partition('_')[2] or response['id']}"


def message_of(response: Json) -> Json:
    """All messages of the response as one. Calls that it has the result of too were made by the agent itself."""
    text, refusal, annotations = "", "", []
    output = response["output"]
    for item in output:
        parts = item["content"] if item["type"] == "message" else ()
        for number, part in enumerate(parts):
            if part["type"] == "refusal":
                refusal += part["refusal"]
                continue
            text += "" if number else separator(text[-1:], part["text"])
            annotations += [
                _annotation(each, len(text)) for each in part["annotations"] if each["type"] == "url_citation"
            ]
            text += part["text"]
    answered = {item["call_id"] for item in output if item["type"] == "function_call_output"}
    calls = [tool_call(i) for i in output if i["type"] == "function_call" and i["call_id"] not in answered]
    message: Json = {"role": "assistant", "content": text or (None if calls or refusal else "")}
    message |= {"refusal": refusal or None, "annotations": annotations}
    return message | ({"tool_calls": calls} if calls else {})


def separator(end: str, following: str) -> str:
    return "" if not end or end.isspace() or following[:1].isspace() or not following else "\n\n"


def finish_reason(response: Json, message: Json) -> str:
    if response["status"] == "incomplete":
        return _REASONS.get((response["incomplete_details"] or {}).get("reason") or "", "stop")
    return "tool_calls" if message.get("tool_calls") else "stop"


def _annotation(annotation: Json, offset: int) -> Json:
    place = {name: annotation[name] + offset for name in ("start_index", "end_index")}
    return {"type": "url_citation", "url_citation": {"title": annotation["title"], "url": annotation["url"], **place}}


_NO_USAGE: Json = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def chat_usage(response: Json) -> Json | None:
    usage = response.get("usage")
    if not usage:
        return None
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": {"cached_tokens": usage["input_tokens_details"]["cached_tokens"]},
        "completion_tokens_details": {"reasoning_tokens": usage["output_tokens_details"]["reasoning_tokens"]},
    }
