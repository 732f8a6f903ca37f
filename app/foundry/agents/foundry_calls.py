"""Requests to Foundry: time limits, retries with Retry-After, and the circuit breaker, for both of its clients."""

from __future__ import annotations

import asyncio
import enum
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
import openai
from azure.core.async_paging import AsyncItemPaged
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
)

from app.foundry.agents.foundry_errors import FoundryError, RefusedError, UnavailableError, error_of, refusal
from app.resilience.circuit_breaker import CircuitBreaker, CircuitOpenError
from app.resilience.retry import Backoff, retry
from app.resilience.retry_after import retry_after_seconds

_Result = TypeVar("_Result")

# https://learn.microsoft.com/entra/identity-platform/reference-error-codes
_ENTRA_CODE = re.compile(r"AADSTS[0-9]{5,8}")
CALL_SECONDS = 30.0
_RETRYING_SECONDS = 90.0
_MAX_PAGES = 200
_BACKOFF = Backoff(first_seconds=1, longest_seconds=15, attempts=5, jitter=0.5)
_TRANSIENT_STATUSES = frozenset({408, 409, 429})
# With 400: https://github.com/paulgmiller/careme/issues/379
_BUSY_CODES = frozenset({"conversation_locked"})


class Repeat(enum.Enum):
    """Whether a request may be sent again after a failure."""

    ALWAYS = "carried out twice, it does the same as once"
    IF_REFUSED = "only where it was certainly not carried out"
    NEVER = "whoever asked decides"


class FoundryCalls:
    def __init__(
        self,
        *,
        call_seconds: float = CALL_SECONDS,
        backoff: Backoff = _BACKOFF,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._call_seconds = call_seconds
        self._backoff = backoff
        self._sleep = sleep
        self._circuit = CircuitBreaker("Foundry project")

    async def make(self, what: str, call: Callable[[], Awaitable[_Result]], repeat: Repeat) -> _Result:
        """`what` completes "Foundry refused to …". Raises `FoundryError`."""

        def pause_after(failure: Exception, attempt: int) -> float | None:
            if not isinstance(failure, UnavailableError) or repeat is Repeat.NEVER:
                return None
            if repeat is Repeat.IF_REFUSED and not failure.was_refused:
                return None
            pause = self._backoff.pause_seconds(attempt)
            return pause if pause is None else max(pause, failure.retry_after_seconds or 0)

        return await retry(
            lambda: self._attempt(what, call), pause_after, limit_seconds=_RETRYING_SECONDS, sleep=self._sleep
        )

    async def all_of(self, what: str, listing: Callable[[], AsyncItemPaged[Any]]) -> list[Any]:
        """The items of every page, each once, where each page has a time limit and tries of its own.

        It ends where the service gives a page again.
        """
        found: dict[str, Any] = {}
        seen: set[str | None] = {None}
        token: str | None = None
        for _ in range(_MAX_PAGES):

            async def read(after: str | None = token) -> tuple[list[Any], str | None]:
                pages: Any = listing().by_page(after)
                page = [each async for each in await anext(pages) if isinstance(each, Mapping)]
                return page, pages.continuation_token

            page, token = await self.make(what, read, Repeat.ALWAYS)
            for each in page:
                found.setdefault(str(each.get("id") or f"#{len(found)}"), each)
            if token in seen:
                break
            seen.add(token)
        return list(found.values())

    async def _attempt(self, what: str, call: Callable[[], Awaitable[_Result]]) -> _Result:
        try:
            admitted = self._circuit.call()
        except CircuitOpenError as error:
            sentence = f"Foundry has failed for a while, and was not asked to {what}."
            raise UnavailableError(sentence, retry_after_seconds=error.retry_after_seconds, was_refused=True) from error
        with admitted:
            try:
                async with asyncio.timeout(self._call_seconds):
                    result = await call()
            except (AzureError, openai.OpenAIError, ValueError, OSError, TypeError, AttributeError) as failure:
                # The last two: JSON of another shape than the packages' models have.
                translated = _foundry_error(failure, what)
                if isinstance(translated, UnavailableError):
                    admitted.failed()
                else:
                    admitted.succeeded()
                raise translated from failure
            admitted.succeeded()
            return result


def _foundry_error(failure: Exception, what: str) -> FoundryError:
    if isinstance(failure, HttpResponseError) and failure.response is not None and not isinstance(failure, DecodeError):
        response: Any = failure.response
        return _of_status(response.status_code, _json_body(response), response.headers.get("Retry-After"), what)
    if isinstance(failure, openai.APIStatusError):
        headers = failure.response.headers
        return _of_status(failure.status_code, failure.body, headers.get("Retry-After"), what)
    if isinstance(failure, ClientAuthenticationError):
        # Of azure-identity, which lists every kind of sign-in that it has tried, over many lines.
        code = _ENTRA_CODE.search(str(failure))
        why = f" ({code[0]})" if code else ""
        return RefusedError(f"There is no sign-in to Azure{why}: run az login, or give this machine an identity.")
    was_refused = not _may_have_arrived(failure)
    name = type(failure).__name__
    if was_refused:
        sentence = f"Foundry could not be reached to {what} ({name}): check PROJECT_ENDPOINT_ENT, and the network."
    else:
        sentence = f"Foundry gave no answer that can be read when asked to {what} ({name})."
    return UnavailableError(sentence, was_refused=was_refused)


def _may_have_arrived(failure: Exception) -> bool:
    if isinstance(failure, ServiceRequestTimeoutError):
        return False
    cause = failure.__cause__
    if isinstance(failure, ServiceRequestError):
        # azure-core also says so where the server hung up after it had read the request.
        return isinstance(cause, aiohttp.ClientError) and not isinstance(cause, aiohttp.ClientConnectorError)
    return type(cause).__name__ not in {"ConnectError", "ConnectTimeout"}


def _of_status(status: int, body: object, retry_after: str | None, what: str) -> FoundryError:
    # 409: https://github.com/Azure/azure-sdk-for-net/issues/58060
    busy = status in {409, 429} or error_of(body)[0] in _BUSY_CODES
    if busy or status in _TRANSIENT_STATUSES or status >= 500:
        pause = retry_after_seconds(retry_after)
        wish = f" It asks to wait {pause:g} s." if pause else ""
        return UnavailableError(
            f"Foundry {'is busy and refused to' if busy else 'failed to'} {what} (HTTP {status}).{wish}",
            retry_after_seconds=pause,
            was_refused=busy,
        )
    return refusal(status, body, what)


def _json_body(response: Any) -> object:  # noqa: ANN401 - azure-core has two kinds of response
    try:
        return json.loads(response.text())
    except (ValueError, AzureError, TypeError):
        return None
