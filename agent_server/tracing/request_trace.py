"""The trace of a request."""

from __future__ import annotations

from typing import Any, Protocol


class RequestTrace(Protocol):
    @property
    def trace_id(self) -> str:
        """MLflow's id; empty where the request is not traced."""
        ...

    def end(self, output: dict[str, Any] | None, error: BaseException | None = None) -> None: ...


class RequestTracer(Protocol):
    def start(
        self, name: str, request: dict[str, Any], *, response_id: str, conversation_id: str, owner: str
    ) -> RequestTrace:
        """Spans that begin in the same context become its children. Returns at once, and never raises."""
        ...


class _NoTrace:
    trace_id = ""

    def end(self, output: dict[str, Any] | None, error: BaseException | None = None) -> None: ...


class _NoTracing:
    def start(
        self, name: str, request: dict[str, Any], *, response_id: str, conversation_id: str, owner: str
    ) -> RequestTrace:
        return _NoTrace()


NO_TRACING: RequestTracer = _NoTracing()
