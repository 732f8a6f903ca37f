"""Which ModelError an exception of the HTTP client is. The openai package hides the cause two exceptions deep."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp

from app.common.log_text import quoted
from app.models.model_errors import EndpointUnreachableError, ModelError, ModelTimeoutError, StreamInterruptedError

_NO_CONNECTION = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_TIMED_OUT = (TimeoutError, aiohttp.ServerTimeoutError)


def failure_of_exception(error: Exception, *, answer_began: bool) -> ModelError:
    causes = list(_causes(error))
    root = causes[-1]
    cause_text = quoted(f"{type(root).__name__}: {root}")
    if any(isinstance(cause, ModelError) for cause in causes):
        return next(cause for cause in causes if isinstance(cause, ModelError))
    if any(isinstance(cause, _NO_CONNECTION) for cause in causes):
        return EndpointUnreachableError(f"no connection to the endpoint: {cause_text}")
    if any(isinstance(cause, _TIMED_OUT) for cause in causes):
        return ModelTimeoutError(f"no bytes from the endpoint in time: {cause_text}")
    if answer_began:
        return StreamInterruptedError(f"the connection broke: {cause_text}")
    return EndpointUnreachableError(f"the connection broke before an answer: {cause_text}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
