"""The request that a handler answers, as far as its body does not say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from agent_server.handlers.handler import Handler
from agent_server.identity.server_caller import ServerCaller


@dataclass(frozen=True, slots=True)
class RequestContext:
    """`headers` have lower-case names. `response_id` and `conversation_id` are empty where nothing is stored. `agent`
    is the Databricks agent, where the server has it.
    """

    request_id: str
    caller: ServerCaller
    headers: Mapping[str, str]
    response_id: str = ""
    conversation_id: str = ""
    agent: Handler | None = None


_current: ContextVar[RequestContext] = ContextVar("request_context")


def current_request() -> RequestContext:
    """That of the handler that calls this. Raises `LookupError` elsewhere."""
    return _current.get()


@contextmanager
def request_context(context: RequestContext) -> Iterator[None]:
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
