"""From the events that handlers yield to the whole sequence of the Responses API.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from agent_server.protocol.handler_events import HandlerEventError, read_item
from agent_server.protocol.output_assembler import OutputAssembler
from agent_server.protocol.response_object import new_response, take_from_handler
from agent_server.protocol.responses_request import ResponsesRequest

Json = dict[str, Any]

_OWN = ("response.created", "response.queued", "response.in_progress")
# Of those that openai's types know for a response; an `error` event may have any.
_RESPONSE_CODES = ("server_error", "rate_limit_exceeded", "invalid_prompt")
_WAITING_FOR = "waiting_for"
_ENDS = ("response.completed", "response.incomplete", "response.failed")


class ResponseAssembler:
    """One response. All methods return strict events, in their order; after its end they return none.

    A handler may yield strict events too, and may leave out of them what it likes: what is missing is added, and what
    was said is not repeated. Text that was streamed is taken back by nothing but the handler's own whole item.
    """

    def __init__(self, response_id: str, created_at: float, request: ResponsesRequest) -> None:
        self._fields = new_response(response_id, created_at, request)
        self._output = OutputAssembler(response_id)
        self._status = "in_progress"
        self._next_number = 0

    @classmethod
    def resumed(cls, events: Iterable[Json]) -> Self:
        """As it was after these strict events, all that there are so far. Raises `ValueError` without the first one."""
        assembler = cls.__new__(cls)
        assembler._next_number = 0
        for event in events:
            if "response" in event:
                response: Json = dict(event["response"])
                assembler._status = response.pop("status")
                response.pop("output")
                assembler._fields = response
            if not assembler._next_number:
                if event["type"] != "response.created":
                    raise ValueError("the first event of a response is response.created")
                assembler._output = OutputAssembler(assembler.id)
            assembler._output.replay(event)
            assembler._next_number = event["sequence_number"] + 1
        if not assembler._next_number:
            raise ValueError("there is nothing to resume a response from")
        return assembler

    @property
    def id(self) -> str:
        return str(self._fields["id"])

    @property
    def response(self) -> Json:
        """The Response object as it is now."""
        return {**self._fields, "status": self._status, "output": self._output.output}

    @property
    def status(self) -> str:
        """`queued`, `in_progress`, `completed`, `incomplete`, `failed` or `cancelled`."""
        return self._status

    @property
    def has_ended(self) -> bool:
        return self._status not in ("queued", "in_progress")

    def begin(self, *, queued: bool = False) -> list[Json]:
        """`response.created`, and what it is then: with `queued` the answer begins with `start`."""
        self._status = "queued" if queued else "in_progress"
        second = f"response.{self._status}"
        return self._numbered([{"type": kind, "response": self.response} for kind in ("response.created", second)])

    def start(self) -> list[Json]:
        """Of a queued response; any other has started."""
        if self._status != "queued":
            return []
        self._status = "in_progress"
        metadata = self._fields.get("metadata") or {}
        self._fields["metadata"] = {name: value for name, value in metadata.items() if name != _WAITING_FOR}
        return self._numbered([{"type": "response.in_progress", "response": self.response}])

    def wait(self, reason: str) -> list[Json]:
        """Closes what is not finished, as `interrupt`, and says in the response's metadata what it waits for. The
        answer goes on with `start`.
        """
        if self.has_ended or self._status == "queued":
            return []
        events = self._output.close_all("incomplete")
        self._status = "queued"
        self._fields["metadata"] = {**(self._fields.get("metadata") or {}), _WAITING_FOR: reason}
        return self._numbered([*events, {"type": "response.queued", "response": self.response}])

    def add(self, event: Mapping[str, Any]) -> list[Json]:
        """Raises `HandlerEventError` for what is no event; the response can still be failed then."""
        if self.has_ended:
            return []
        kind = event.get("type")
        if not isinstance(kind, str):
            raise HandlerEventError("An event needs a type, for example response.output_text.delta.")
        if "custom_outputs" in event:
            take_from_handler(self._fields, {"custom_outputs": event["custom_outputs"]})
        if kind == "response.output_text.delta":
            return self._numbered(self._output.text_delta(event))
        if kind in _ENDS:
            return self._handler_ended(kind, event.get("response"))
        if kind == "error":
            return self.fail(event.get("message"), event.get("code"), event.get("param"))
        return [] if kind in _OWN else self._numbered(self._output.take(event))

    def interrupt(self) -> list[Json]:
        """Closes what is not finished as `incomplete`. The answer may go on with another item."""
        return [] if self.has_ended else self._numbered(self._output.close_all("incomplete"))

    def finish(self, *, incomplete_reason: str = "") -> list[Json]:
        """`incomplete_reason` is `max_output_tokens` or `content_filter` where the answer was cut short by it."""
        if self.has_ended:
            return []
        if incomplete_reason:
            self._fields["incomplete_details"] = {"reason": incomplete_reason}
        status = "incomplete" if incomplete_reason else "completed"
        return self._end(self._output.close_all(status), status)

    def fail(self, message: object, code: object = None, param: object = None) -> list[Json]:
        """`error`, then `response.failed`. `message` is a sentence for the caller."""
        if self.has_ended:
            return []
        sentence = message if isinstance(message, str) and message else "The agent failed."
        reason = code if isinstance(code, str) and code else "server_error"
        events = self._output.close_all("incomplete")
        self._fields["error"] = {"code": reason if reason in _RESPONSE_CODES else "server_error", "message": sentence}
        place = param if isinstance(param, str) else None
        return self._end([*events, {"type": "error", "code": reason, "message": sentence, "param": place}], "failed")

    def cancel(self) -> list[Json]:
        """The API has no event of its own for that: it is `response.incomplete` of a response that is `cancelled`."""
        return [] if self.has_ended else self._end(self._output.close_all("incomplete"), "cancelled")

    def _handler_ended(self, kind: str, response: object) -> list[Json]:
        said = response if isinstance(response, dict) else {}
        output, error, details = said.get("output"), said.get("error"), said.get("incomplete_details")
        items = [read_item(item) for item in (output if isinstance(output, list) else ())]
        events = self._numbered([event for item in items for event in self._output.whole_item(item, {}, at_end=True)])
        take_from_handler(self._fields, said)
        status = kind.rpartition(".")[2] if kind != "response.completed" else said.get("status")
        if status == "failed":
            failure = error if isinstance(error, dict) else {}
            return events + self.fail(failure.get("message"), failure.get("code"))
        if status == "incomplete":
            reason = details.get("reason") if isinstance(details, dict) else None
            return events + self.finish(incomplete_reason=reason if isinstance(reason, str) else "max_output_tokens")
        return events + self.finish()

    def _end(self, events: list[Json], status: str) -> list[Json]:
        self._status = status
        kind = "incomplete" if status == "cancelled" else status
        return self._numbered([*events, {"type": f"response.{kind}", "response": self.response}])

    def _numbered(self, events: list[Json]) -> list[Json]:
        for event in events:
            event["sequence_number"] = self._next_number
            self._next_number += 1
        return events
