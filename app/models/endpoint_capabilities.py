"""What an endpoint turned out not to support, and how its streams end. Nothing of it depends on the endpoint's name."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.common.json_values import mapping
from app.common.log_text import quoted
from app.models.model_errors import ConversationTooLongError, ModelError, RequestRefusedError
from app.models.refused_parameters import positions_of

# How long to wait after `response.completed` or a finish reason for `[DONE]` or the end of the stream: an agent may use
# a slow tool between two answers of its model. What has come until then is shown already.
WAIT_AFTER_END_SECONDS = 30.0
# Of an endpoint that has left a stream open after the end, and has never sent more after one.
SHORT_WAIT_AFTER_END_SECONDS = 5.0

# Refusals are forgotten, since one may have been about something else: words of a person that the error quotes, or a
# tool call that the model invented.
REFUSALS_REMEMBERED_SECONDS = 900.0

_log = logging.getLogger(__name__)

_OPTIONAL = frozenset({"stream", "stream_options", "temperature", "tools", "databricks_options"})
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class EndpointCapabilities:
    """`refused` are parameters that are not sent any more, `system` that messages of that role are not; `call_fields`
    are fields of its own tool calls that the endpoint does not want back."""

    refused: frozenset[str] = frozenset()
    call_fields: frozenset[str] = frozenset()
    leaves_streams_open: bool = False
    continues_after_end: bool = False

    def supports(self, parameter: str) -> bool:
        return parameter not in self.refused

    @property
    def wait_after_end_seconds(self) -> float:
        if self.leaves_streams_open and not self.continues_after_end:
            return SHORT_WAIT_AFTER_END_SECONDS
        return WAIT_AFTER_END_SECONDS

    def learned_from(self, failure: ModelError, body: Mapping[str, Any]) -> EndpointCapabilities | None:
        """With what this refusal teaches; None where it names nothing that was sent."""
        if not isinstance(failure, RequestRefusedError | ConversationTooLongError):
            return None
        if extra := {name for name in _call_fields_of(body) if [*positions_of(name, failure.detail)]}:
            return replace(self, call_fields=self.call_fields | extra)
        for named in failure.parameters:
            for name in _TOKEN_LIMITS if named in _TOKEN_LIMITS else (named,):
                if _is_sent(name, body):
                    return replace(self, refused=self.refused | {name})
        return None

    def without_refusals(self) -> EndpointCapabilities:
        return replace(self, refused=frozenset(), call_fields=frozenset())

    def merged_with(self, other: EndpointCapabilities) -> EndpointCapabilities:
        return EndpointCapabilities(
            self.refused | other.refused,
            self.call_fields | other.call_fields,
            self.leaves_streams_open or other.leaves_streams_open,
            self.continues_after_end or other.continues_after_end,
        )


ALL_SUPPORTED = EndpointCapabilities()


class CapabilityMemory:
    """What an endpoint turned out not to support. Refusals are forgotten after `REFUSALS_REMEMBERED_SECONDS`.

    `clock` is in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known = ALL_SUPPORTED
        self._learned_at = math.inf

    @property
    def known(self) -> EndpointCapabilities:
        if self._clock() > self._learned_at + REFUSALS_REMEMBERED_SECONDS:
            self._known, self._learned_at = self._known.without_refusals(), math.inf
        return self._known

    def remember(self, learned: EndpointCapabilities) -> None:
        """A request without what `learned` leaves out has been answered."""
        known = self.known
        self._known = known.merged_with(learned)
        self._learned_at = min(self._learned_at, self._clock())
        for name in sorted((learned.refused | learned.call_fields) - known.refused - known.call_fields):
            _log.warning("The endpoint refuses the parameter %s: requests leave it out for a while", quoted(name))

    def note_end(self, *, left_open: bool, continued_after_end: bool) -> None:
        """How an answer ended: its stream was left open, and whether more came after the end."""
        known = self.known
        if left_open and not known.leaves_streams_open:
            _log.warning(
                "The endpoint leaves its stream open after the end of an answer: nothing came within %g s",
                known.wait_after_end_seconds,
            )
        self._known = replace(
            known,
            leaves_streams_open=known.leaves_streams_open or left_open,
            continues_after_end=known.continues_after_end or continued_after_end,
        )


def _is_sent(name: str, body: Mapping[str, Any]) -> bool:
    if name == "system":
        messages = body.get("messages") or body.get("input") or ()
        return any(message.get("role") == "system" for message in messages)
    return (name in _OPTIONAL or name in _TOKEN_LIMITS) and bool(body.get(name) is not None and body[name] is not False)


def _call_fields_of(body: Mapping[str, Any]) -> Iterable[str]:
    """Unknown fields of the endpoint's tool calls that the request sends back."""
    known = {"id", "type", "function", "call_id", "name", "arguments", "output"}
    for message in (*body.get("messages", ()), *body.get("input", ())):
        calls = message.get("tool_calls") or ([message] if message.get("type") == "function_call" else [])
        for call in calls:
            yield from (name for name in (*call, *mapping(call.get("function"))) if name not in known)
