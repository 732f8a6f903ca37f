"""One agent that answers "Hello" in each task, streamed and not: what is asked of it is what every route must give."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from agent_server.handlers.handler import Handler
from agent_server.handlers.registry import HandlerRegistry
from agent_server.protocol.task import Task

Json = dict[str, Any]

PIECES = ("Hel", "lo")
CHAT_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


class RecordingAgent:
    """Keeps the requests that its handlers got."""

    def __init__(self, task: Task, *, only: str = "") -> None:
        self.task = task
        self.asked: list[Json] = []
        self._registry = HandlerRegistry()
        if only != "stream":
            self._registry.invoke_method(self._invoke)
        if only != "invoke":
            self._registry.stream_method(self._stream)

    @property
    def handler(self) -> Handler:
        return self._registry.handler(self.task)

    async def _invoke(self, request: dict) -> dict:  # type: ignore[type-arg]
        self.asked.append(request)
        return _ANSWERS[self.task]

    async def _stream(self, request: dict) -> AsyncGenerator[dict, None]:  # type: ignore[type-arg]
        self.asked.append(request)
        for event in _EVENTS[self.task]:
            yield event


_MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant"}
_RESPONSES_EVENTS: list[Json] = [
    *({"type": "response.output_text.delta", "item_id": "msg_1", "delta": piece} for piece in PIECES),
    {
        "type": "response.output_item.done",
        "item": {**_MESSAGE, "content": [{"type": "output_text", "text": "Hello", "annotations": []}]},
    },
    {"type": "response.completed", "response": {"usage": CHAT_USAGE, "custom_outputs": {"a": 1}}},
]
_RESPONSES_ANSWER: Json = {
    "output": [_RESPONSES_EVENTS[2]["item"]],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
    "custom_outputs": {"a": 1},
}
_EVENTS: dict[Task, list[Json]] = {
    Task.RESPONSES: _RESPONSES_EVENTS,
    Task.NONE: _RESPONSES_EVENTS,
    Task.CHAT: [
        *({"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in PIECES),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "custom_outputs": {"a": 1}},
        {"choices": [], "usage": CHAT_USAGE},
    ],
    Task.CHAT_AGENT: [
        *({"delta": {"role": "assistant", "content": piece, "id": "1"}} for piece in PIECES[:1]),
        {
            "delta": {"role": "assistant", "content": PIECES[1], "id": "1"},
            "finish_reason": "stop",
            "usage": CHAT_USAGE,
            "custom_outputs": {"a": 1},
        },
    ],
}
_ANSWERS: dict[Task, Json] = {
    Task.RESPONSES: _RESPONSES_ANSWER,
    Task.NONE: _RESPONSES_ANSWER,
    Task.CHAT: {
        "choices": [{"message": {"role": "assistant", "content": "Hello"}}],
        "usage": CHAT_USAGE,
        "custom_outputs": {"a": 1},
    },
    Task.CHAT_AGENT: {
        "messages": [{"role": "assistant", "content": "Hello", "id": "1"}],
        "usage": CHAT_USAGE,
        "custom_outputs": {"a": 1},
    },
}
