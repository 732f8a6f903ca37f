"""Calls to a storage account: none takes long, and what is missing there is made."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from azure.core.exceptions import AzureError, HttpResponseError

from app.storage.storage_errors import StorageError

_P = ParamSpec("_P")
_R = TypeVar("_R")

# A pause of storage shorter than a read's limit is only waited for.
CALL_SECONDS = 20.0
CLEANING_SECONDS = 240.0
CONNECTION_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 10

_MISSING = ("TableNotFound", "QueueNotFound", "ContainerNotFound")


class MadeWhenMissing(Protocol):
    async def make(self) -> None:
        """Makes the table, queue or container itself; that somebody else has is no error."""
        ...


_Self = TypeVar("_Self", bound=MadeWhenMissing)
_Method = Callable[Concatenate[_Self, _P], Coroutine[Any, Any, _R]]


def bounded(seconds: float = CALL_SECONDS) -> Callable[[_Method[_Self, _P, _R]], _Method[_Self, _P, _R]]:
    """Of a method: a limit for all of its tries, and `StorageError` for whatever azure-core raises."""

    def decorate(method: _Method[_Self, _P, _R]) -> _Method[_Self, _P, _R]:
        @functools.wraps(method)
        async def call(self: _Self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                async with asyncio.timeout(seconds):
                    try:
                        return await method(self, *args, **kwargs)
                    except HttpResponseError as error:
                        if code_of(error) not in _MISSING:
                            raise
                    await self.make()
                    return await method(self, *args, **kwargs)
            except (AzureError, TimeoutError, OSError) as error:
                raise StorageError(f"{type(error).__name__} {code_of(error)}".rstrip()) from error

        return call

    return decorate


def code_of(error: BaseException) -> str:
    """Azure's own name of the error; empty if there is none."""
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))
