"""The functions that answer requests, as people name them with `@invoke()` and `@stream()`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import TypeVar, overload

from agent_server.handlers.function_pair import FunctionPair
from agent_server.handlers.handler_function import Function, HandlerFunction
from agent_server.protocol.task import Task

F = TypeVar("F", bound=Function)

_MLFLOW = "mlflow.genai.agent_server"


class NoHandlerError(RuntimeError):
    """Nothing is there to answer a request with."""


class HandlerRegistry:
    """One function of each kind. Both decorators can be written with brackets or without."""

    def __init__(self) -> None:
        self._functions: dict[str, Function] = {}

    @overload
    def invoke_method(self, function: F) -> F: ...
    @overload
    def invoke_method(self) -> Callable[[F], F]: ...
    def invoke_method(self, function: F | None = None) -> F | Callable[[F], F]:
        """Decorates the function that gives an answer in one piece."""
        return self._decorate("invoke", function)

    @overload
    def stream_method(self, function: F) -> F: ...
    @overload
    def stream_method(self) -> Callable[[F], F]: ...
    def stream_method(self, function: F | None = None) -> F | Callable[[F], F]:
        """Decorates the function that yields the events of an answer."""
        return self._decorate("stream", function)

    def handler(self, task: Task) -> FunctionPair:
        """Of what was decorated here or with MLflow's own decorators. Raises `NoHandlerError`, and `ValueError` where
        both were used.
        """
        found = {kind: self._function(kind, task) for kind in ("invoke", "stream")}
        if not any(found.values()):
            raise NoHandlerError(
                "There is no handler: decorate a function with @invoke() or @stream() of agent_server."
            )
        return FunctionPair(task, found["invoke"], found["stream"])

    def clear(self) -> None:
        self._functions.clear()

    def _decorate(self, kind: str, function: F | None) -> F | Callable[[F], F]:
        def register(decorated: F) -> F:
            HandlerFunction(decorated)
            known = self._functions.get(kind)
            # A module may be imported twice: as itself and as __main__.
            if known is not None and _place(known) != _place(decorated):
                places = f"{HandlerFunction(known).place} and {HandlerFunction(decorated).place}"
                raise ValueError(f"@{kind}() can decorate one function only, but it is on {places}.")
            self._functions[kind] = decorated
            return decorated

        return register if function is None else register(function)

    def _function(self, kind: str, task: Task) -> HandlerFunction | None:
        own, mlflows = self._functions.get(kind), _mlflow_function(kind)
        if own is not None and mlflows is not None:
            raise ValueError(f"Both @{kind}() of agent_server and that of MLflow are used; only one can be.")
        if own is not None:
            return HandlerFunction(own)
        if mlflows is not None:
            return HandlerFunction(mlflows, request_type=_mlflow_request_type(task))
        return None


def _place(function: Function) -> tuple[str, int]:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else (repr(function), 0)


def _mlflow_function(kind: str) -> Function | None:
    """Not imported here, which takes seconds: a file that uses MLflow's decorators has imported it."""
    server = sys.modules.get(_MLFLOW)
    if server is None:
        return None
    get: Callable[[], Function | None] = getattr(server, f"get_{kind}_function")
    return get()


def _mlflow_request_type(task: Task) -> type | None:
    """MLflow's own server hands over its model, whatever the annotation is."""
    if task is not Task.RESPONSES:
        return None
    found: type = sys.modules["mlflow.types.responses"].ResponsesAgentRequest
    return found


agent = HandlerRegistry()
"""Of this process: decorators have no other place to put what they decorate."""


def invoke() -> Callable[[F], F]:
    """`@invoke()` decorates the function that gives an answer in one piece."""
    return agent.invoke_method()


def stream() -> Callable[[F], F]:
    """`@stream()` decorates the function that yields the events of an answer."""
    return agent.stream_method()
