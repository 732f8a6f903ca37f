"""What handlers of each task take and give, and the same in the Responses API, which all of them can be asked in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

from agent_server.protocol.chat_agent_format import ChatAgentFormat
from agent_server.protocol.chat_format import ChatFormat
from agent_server.protocol.response_assembler import ResponseAssembler
from agent_server.protocol.responses_request import ResponsesRequest
from agent_server.protocol.task import Task

Json = dict[str, Any]


class EventReader(Protocol):
    """Of one stream of a handler's own events."""

    def read(self, event: Json) -> Sequence[Json]:
        """The same as events of the Responses API. Raises `HandlerEventError`."""
        ...

    def end(self) -> Sequence[Json]:
        """What is left where the handler has yielded all."""
        ...


class TaskFormat(Protocol):
    @property
    def is_responses(self) -> bool:
        """Its reader changes nothing."""
        ...

    def request(self, request: ResponsesRequest) -> Json:
        """As a handler takes it. Raises `ApiError` for what its format cannot say."""
        ...

    def reader(self) -> EventReader: ...

    def joined(self, events: Sequence[Json]) -> Json:
        """The answer in one piece that these events are. Raises `HandlerEventError`."""
        ...

    def events_of(self, answer: Json) -> Iterable[Json]:
        """The events of an answer in one piece."""
        ...


class _AsItIs:
    def read(self, event: Json) -> Sequence[Json]:
        return (event,)

    def end(self) -> Sequence[Json]:
        return ()


class ResponsesFormat:
    is_responses = True

    def request(self, request: ResponsesRequest) -> Json:
        return request.body

    def reader(self) -> EventReader:
        return _AsItIs()

    def joined(self, events: Sequence[Json]) -> Json:
        assembler = ResponseAssembler(f"resp_{uuid4().hex}", 0, ResponsesRequest({"input": []}))
        for event in events:
            assembler.add(event)
        assembler.finish()
        said = ("status", "output", "error", "incomplete_details", "usage", "custom_outputs", "metadata", "model")
        return {name: value for name, value in assembler.response.items() if name in said and value}

    def events_of(self, answer: Json) -> Iterable[Json]:
        return [{"type": "response.completed", "response": answer}]


class NoFormat(ResponsesFormat):
    """Any JSON object. What looks like the Responses API is taken for it."""

    def joined(self, events: Sequence[Json]) -> Json:
        if events and all(_is_responses_event(event) for event in events):
            return super().joined(events)
        return events[0] if len(events) == 1 else {"events": list(events)}

    def events_of(self, answer: Json) -> Iterable[Json]:
        return super().events_of(answer) if isinstance(answer.get("output"), list) else [answer]


def _is_responses_event(event: Json) -> bool:
    kind = event.get("type")
    return isinstance(kind, str) and (kind == "error" or kind.startswith("response."))


_FORMATS: Mapping[Task, TaskFormat] = {
    Task.RESPONSES: ResponsesFormat(),
    Task.CHAT: ChatFormat(),
    Task.CHAT_AGENT: ChatAgentFormat(),
    Task.NONE: NoFormat(),
}


def task_format(task: Task) -> TaskFormat:
    return _FORMATS[task]
