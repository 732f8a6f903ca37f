"""Which failure an exception of the HTTP client is. The openai package hides the cause two exceptions deep."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp

from app.model.errors import quoted
from app.model.failures import ModelFailure, ModelTimedOut, StreamCut, Unreachable

_NO_CONNECTION = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_TIMED_OUT = (TimeoutError, aiohttp.ServerTimeoutError)


def failure_of_exception(error: Exception, *, answer_began: bool) -> ModelFailure:
    causes = list(_causes(error))
    root = causes[-1]
    said = quoted(f"{type(root).__name__}: {root}")
    if any(isinstance(cause, ModelFailure) for cause in causes):
        return next(cause for cause in causes if isinstance(cause, ModelFailure))
    if any(isinstance(cause, _NO_CONNECTION) for cause in causes):
        return Unreachable(f"no connection to the endpoint: {said}")
    if any(isinstance(cause, _TIMED_OUT) for cause in causes):
        return ModelTimedOut(f"the endpoint fell silent: {said}")
    if answer_began:
        return StreamCut(f"the connection broke: {said}")
    return Unreachable(f"the connection broke before an answer: {said}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
