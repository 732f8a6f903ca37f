"""A function that somebody decorated, called with the request as it wants it, whichever kind of function it is."""

from __future__ import annotations

import asyncio
import inspect
import sys
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict, is_dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from agent_server.handlers.request_context import current_request
from agent_server.handlers.threads import iterate_in_thread, run_in_thread
from agent_server.protocol.api_error import ApiError

JsonObject = dict[str, Any]
Function = Callable[..., Any]

# Calling one of these runs nothing of it yet.
_CALLED_AT_ONCE = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)


class HandlerResultError(TypeError):
    """A handler returned or yielded what is no JSON object. The message is a sentence for its author."""


class HandlerCancelledError(RuntimeError):
    """A handler let a cancellation out that nobody had asked it for, as of a task of its own that it awaited."""


class HandlerFunction:
    """`function` takes the request: a dict, or the pydantic model or dataclass that its annotation names, unless
    `request_type` does. What it gives may be one too. It may be a function, coroutine function, generator function or
    asynchronous one; what blocks runs in a thread. Raises `TypeError` where it takes no request.
    """

    def __init__(self, function: Function, *, request_type: type | None = None) -> None:
        self.function = function
        self._check_signature()
        self._adapter = self._adapter_of(request_type or self._annotated_type())

    @property
    def place(self) -> str:
        """Where it is written, for a sentence."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        name = getattr(self.function, "__qualname__", repr(self.function))
        return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name

    async def call(self, request: JsonObject) -> JsonObject:
        """One answer. Raises what the function raises, `ApiError` for a request that it does not take,
        `HandlerResultError` and `HandlerCancelledError`.
        """
        with _own_cancellation_as_failure():
            return as_object(await self._result(request))

    async def iterate(self, request: JsonObject) -> AsyncGenerator[JsonObject, None]:
        """Raises as `call` does. Closing it closes the function's own generator."""
        with _own_cancellation_as_failure():
            async with aclosing(self._events(await self._result(request))) as events:
                async for event in events:
                    yield event if type(event) is dict else as_object(event)

    def _events(self, result: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - what people's functions return
        if hasattr(result, "__aiter__"):
            return result if hasattr(result, "aclose") else _closable(result)
        if isinstance(result, Iterable) and not isinstance(result, dict | str | BaseModel):
            return iterate_in_thread(result)
        raise HandlerResultError(f"{self.place} must yield events; it returned {type(result).__name__}.")

    async def _result(self, request: JsonObject) -> Any:  # noqa: ANN401 - what people's functions return
        argument = self._argument(request)
        _tell_mlflow_the_headers()
        if any(is_kind(self.function) for is_kind in _CALLED_AT_ONCE):
            result = self.function(argument)
        else:
            result = await run_in_thread(partial(self.function, argument))
        return await result if inspect.isawaitable(result) else result

    def _argument(self, request: JsonObject) -> Any:  # noqa: ANN401 - what people's functions take
        if self._adapter is None:
            return request
        try:
            return self._adapter.validate_python(request)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise ApiError(400, f"{place}: {first['msg']}." if place else f"{first['msg']}.", param=place) from None

    def _check_signature(self) -> None:
        signature = inspect.signature(self.function)
        try:
            signature.bind({})
        except TypeError:
            hint = " Decorate a function, or a method of an object." if "self" in signature.parameters else ""
            raise TypeError(f"{self.place} must take one argument, the request.{hint}") from None

    def _annotated_type(self) -> Any:  # noqa: ANN401 - any annotation
        first = next(iter(inspect.signature(self.function).parameters.values()))
        if not isinstance(first.annotation, str):
            return first.annotation
        names = getattr(inspect.unwrap(self.function), "__globals__", {})
        try:
            hints = typing.get_type_hints(SimpleNamespace(__annotations__={"request": first.annotation}), names)
        except (NameError, TypeError, AttributeError, SyntaxError):
            # An annotation that only type checkers can read says nothing here.
            return None
        return hints["request"]

    @staticmethod
    def _adapter_of(annotation: Any) -> TypeAdapter[Any] | None:  # noqa: ANN401 - any annotation
        is_class = isinstance(annotation, type)
        wanted = is_class and (issubclass(annotation, BaseModel) or is_dataclass(annotation))
        return TypeAdapter(annotation) if wanted else None


def as_object(result: Any) -> JsonObject:  # noqa: ANN401 - what people's functions return
    """Raises `HandlerResultError`."""
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json", exclude_none=True)
    if is_dataclass(result) and not isinstance(result, type):
        return asdict(result)
    if isinstance(result, dict):
        return result
    raise HandlerResultError(f"A handler gives dicts, pydantic models or dataclasses, not {type(result).__name__}.")


@contextmanager
def _own_cancellation_as_failure() -> Iterator[None]:
    try:
        yield
    except asyncio.CancelledError as cancellation:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise HandlerCancelledError(
            "The handler let a cancellation out that nobody had asked it for."
        ) from cancellation


async def _closable(events: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    async for event in events:
        yield event


def _tell_mlflow_the_headers() -> None:
    """Templates of Databricks read them with MLflow's `get_request_headers`."""
    utils = sys.modules.get("mlflow.genai.agent_server.utils")
    if utils is not None:
        try:
            utils.set_request_headers(dict(current_request().headers))
        except LookupError:
            return
