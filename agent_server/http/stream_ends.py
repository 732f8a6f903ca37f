"""The last frames of a stream that cannot go on, in the format of its API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agent_server.handlers.handler import JsonObject
from agent_server.protocol.api_error import ApiError


@dataclass(slots=True)
class SentSoFar:
    """What a stream of the Responses API has sent: its newest Response object, and the number of its last event."""

    response: JsonObject = field(default_factory=dict)
    sequence_number: int = -1

    def add(self, frames: Iterable[JsonObject]) -> None:
        for frame in frames:
            number = frame.get("sequence_number")
            if isinstance(number, int):
                self.sequence_number = number
            if isinstance(response := frame.get("response"), dict):
                self.response = response


def responses_end(error: ApiError, sent: SentSoFar) -> list[JsonObject]:
    number = sent.sequence_number + 1
    fault = {"code": error.code or error.type, "message": error.message}
    failed = {"type": "response.failed", "sequence_number": number + 1}
    failed["response"] = {**sent.response, "status": "failed", "error": {**fault, "code": "server_error"}}
    first: JsonObject = {"type": "error", "sequence_number": number, **fault, "param": error.param}
    return [first, failed] if sent.response else [first]


def chat_end(error: ApiError, _: SentSoFar) -> list[JsonObject]:
    return [error.body()]


def no_end(_: ApiError, __: SentSoFar) -> list[JsonObject]:
    """For a response that is kept: the client comes back for the rest, so it may not take this for the end."""
    return []
