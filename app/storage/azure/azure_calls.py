"""Calls to a storage account: each has a time limit, and creates the table, queue or container that it misses."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from azure.core.exceptions import AzureError, HttpResponseError

from app.storage.storage_errors import StorageError

_P = ParamSpec("_P")
_R = TypeVar("_R")

# An outage that is shorter than the time limit of a read only delays the call.
CALL_SECONDS = 20.0
CLEANING_SECONDS = 240.0
CONNECTION_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 10

_MISSING_CODES = ("TableNotFound", "QueueNotFound", "ContainerNotFound")


class CreatedOnDemand(Protocol):
    async def create(self) -> None:
        """Creates the table, queue or container, unless it exists."""
        ...


_Self = TypeVar("_Self", bound=CreatedOnDemand)
_Method = Callable[Concatenate[_Self, _P], Coroutine[Any, Any, _R]]


def storage_call(seconds: float = CALL_SECONDS) -> Callable[[_Method[_Self, _P, _R]], _Method[_Self, _P, _R]]:
    """Decorates a method: `seconds` for all its retries, and `StorageError` for every error of azure-core."""

    def decorate(method: _Method[_Self, _P, _R]) -> _Method[_Self, _P, _R]:
        @functools.wraps(method)
        async def call(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                async with asyncio.timeout(seconds):
                    try:
                        return await method(self, *args, **kwargs)
                    except HttpResponseError as error:
                        if code_of(error) not in _MISSING_CODES:
                            raise
                    await self.create()
                    return await method(self, *args, **kwargs)
            except (AzureError, TimeoutError, OSError) as error:
                raise StorageError(f"{type(error).__name__} {code_of(error)}".rstrip()) from error

        return call

    return decorate


def code_of(error: BaseException) -> str:
    """Azure's error code, such as TableNotFound; empty if there is none."""
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))
