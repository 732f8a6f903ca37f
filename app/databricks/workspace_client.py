"""The client of a Databricks workspace's REST API: pooled session, sign-in, typed errors, retries, time limits.

Each API of the workspace has a module beside this one that uses the client: serving_endpoints.py, current_user.py.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
from yarl import URL

from app.common.http_body import BodyTooLargeError, json_object, read_beginning, read_body
from app.common.http_session import HttpSession
from app.common.identity import APP_IDENTITY, AppIdentity, RequestIdentity, UserIdentity
from app.common.net import path_segment
from app.databricks.credentials import Credential
from app.databricks.workspace_errors import (
    WorkspaceInterruptedError,
    WorkspaceRateLimitError,
    WorkspaceReply,
    WorkspaceReplyError,
    WorkspaceTimeoutError,
    WorkspaceUnavailableError,
    WorkspaceUnreachableError,
    error_of_reply,
)
from app.databricks.workspace_url import WorkspaceUrl
from app.resilience.retry import Backoff, retry

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

DEFAULT_TIME_LIMIT_SECONDS = 30.0
SILENCE_SECONDS = 60.0
MAX_REPLY_BYTES = 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
# A stream holds its connection for minutes.
MAX_CONNECTIONS = 1000
CONNECT_TIMEOUT_SECONDS = 5.0

_IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_BACKOFF = Backoff(0.5, longest_seconds=8.0, attempts=4, jitter=0.25)
_EVENT_STREAM = "text/event-stream"
_NO_CONNECTION = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


@dataclass(frozen=True, slots=True)
class _Request:
    method: Method
    path: str
    query: Mapping[str, str] | None
    body: bytes | None
    max_reply_bytes: int
    accept: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class WorkspaceClient:
    """`http` is the session, for other clients that ask the same workspace. `jitter` gives numbers from 0 to 1."""

    def __init__(
        self,
        url: WorkspaceUrl,
        credential: Credential,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.url = url
        self.credential = credential
        self.http = HttpSession(max_connections=MAX_CONNECTIONS, proxy_for=url.host)
        self._sleep = sleep
        self._jitter = jitter

    async def request(
        self,
        method: Method,
        path: str,
        *,
        identity: RequestIdentity = APP_IDENTITY,
        query: Mapping[str, str] | None = None,
        json_body: Mapping[str, Any] | None = None,
        time_limit_seconds: float = DEFAULT_TIME_LIMIT_SECONDS,
        idempotent: bool = False,
        attempts: int = 4,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> Mapping[str, Any]:
        """The JSON object that the workspace answers with, empty where the answer has no body.

        `path` begins with `/api/`; names and ids in it go through `api_path`. `idempotent` says of a POST or PATCH
        that it may be carried out twice, as any other method may. Such a request is made again after a 5xx or a broken
        connection, and every request after a 429 or where there was no connection: up to `attempts` times, within
        `time_limit_seconds`, and not before the workspace's Retry-After. A refused token is renewed once.
        Raises WorkspaceError; where the outcome is not known, WorkspaceUnavailableError or WorkspaceInterruptedError.
        """
        body = None if json_body is None else json.dumps(json_body).encode()
        request = _Request(method, path, query, body, max_reply_bytes)
        repeatable = idempotent or method in _IDEMPOTENT_METHODS
        reply = await self._repeat(request, identity, time_limit_seconds, repeatable=repeatable, attempts=attempts)
        content = json_object(reply.body) if reply.content.strip() else {}
        if content is None:
            raise WorkspaceReplyError(f"{request}: HTTP {reply.status} with something that is no JSON object", reply)
        return content

    async def download(
        self, path: str, *, identity: RequestIdentity, max_reply_bytes: int, time_limit_seconds: float
    ) -> bytes:
        """What a GET of `path` answers, as it is. Raises as `request` does."""
        request = _Request("GET", path, None, None, max_reply_bytes, accept="application/octet-stream")
        return (await self._repeat(request, identity, time_limit_seconds)).content

    async def _repeat(
        self,
        request: _Request,
        identity: RequestIdentity,
        time_limit_seconds: float,
        *,
        repeatable: bool = True,
        attempts: int = 4,
    ) -> WorkspaceReply:
        try:
            async with asyncio.timeout(time_limit_seconds):
                return await retry(
                    lambda: self._try(request, identity),
                    lambda failure, attempt: self._pause_after(failure, attempt, repeatable, attempts),
                    limit_seconds=time_limit_seconds,
                    sleep=self._sleep,
                )
        except TimeoutError as error:
            raise WorkspaceTimeoutError(f"{request}: no answer within {time_limit_seconds:g} s") from error

    @asynccontextmanager
    async def event_stream(
        self,
        path: str,
        *,
        json_body: Mapping[str, Any],
        identity: RequestIdentity = APP_IDENTITY,
        time_limit_seconds: float = DEFAULT_TIME_LIMIT_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a POST that is answered with server-sent events, as they come. The stream has to open within
        `time_limit_seconds`; one that is silent for `silence_seconds` counts as broken.

        As `request` does, this asks again after a 429, where there was no connection, and with a renewed token. Raises
        `WorkspaceError`, while the bytes are read as well.
        """
        request = _Request("POST", path, None, json.dumps(json_body).encode(), MAX_REPLY_BYTES)
        try:
            async with asyncio.timeout(time_limit_seconds):
                response = await retry(
                    lambda: self._open(request, identity),
                    lambda failure, attempt: self._pause_after(failure, attempt, False, 4),
                    limit_seconds=time_limit_seconds,
                    sleep=self._sleep,
                )
        except TimeoutError as error:
            raise WorkspaceTimeoutError(f"{request}: no answer within {time_limit_seconds:g} s") from error
        try:
            async with aclosing(_chunks(request, response, silence_seconds)) as chunks:
                yield chunks
        finally:
            response.close()

    async def token(self, identity: RequestIdentity = APP_IDENTITY) -> str:
        """Raises CredentialError."""
        if isinstance(identity, UserIdentity):
            return identity.token.get_secret_value()
        return await self.credential.token()

    def forget_token(self, identity: RequestIdentity, token: str) -> bool:
        """The workspace refused the token: whether asking again can give another. A person has to sign in anew."""
        return isinstance(identity, AppIdentity) and self.credential.forget(token)

    async def close(self) -> None:
        await self.credential.close()
        await self.http.close()

    def _pause_after(self, failure: Exception, attempt: int, repeatable: bool, attempts: int) -> float | None:
        unknown_outcome = isinstance(failure, WorkspaceUnavailableError | WorkspaceInterruptedError)
        not_done = isinstance(failure, WorkspaceRateLimitError | WorkspaceUnreachableError)
        if attempt >= attempts or not (not_done or (unknown_outcome and repeatable)):
            return None
        pause = _BACKOFF.pause_seconds(attempt, self._jitter())
        asked_for = getattr(failure, "retry_after_seconds", None)
        return pause if asked_for is None or pause is None else asked_for + self._jitter() / 4

    async def _try(self, request: _Request, identity: RequestIdentity) -> WorkspaceReply:
        token = await self.token(identity)
        reply = await self._exchange(request, token)
        if reply.status == 401 and self.forget_token(identity, token):
            reply = await self._exchange(request, await self.token(identity))
        if not 200 <= reply.status < 300:
            raise error_of_reply(str(request), reply)
        return reply

    async def _open(self, request: _Request, identity: RequestIdentity) -> aiohttp.ClientResponse:
        token = await self.token(identity)
        response = await self._send(request, token, _EVENT_STREAM)
        if response.status == 401 and self.forget_token(identity, token):
            response.close()
            response = await self._send(request, await self.token(identity), _EVENT_STREAM)
        if 200 <= response.status < 300 and response.content_type == _EVENT_STREAM:
            return response
        try:
            reply = await _reply(request, response)
        finally:
            response.close()
        if 200 <= response.status < 300:
            raise WorkspaceReplyError(f"{request}: HTTP {response.status} without an event stream", reply)
        raise error_of_reply(str(request), reply)

    async def _exchange(self, request: _Request, token: str) -> WorkspaceReply:
        async with await self._send(request, token, request.accept) as response:
            return await _reply(request, response)

    async def _send(self, request: _Request, token: str, accept: str) -> aiohttp.ClientResponse:
        headers = {"Authorization": f"Bearer {token}", "Accept": accept}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        url = URL(self.url.host + request.path, encoded=True)
        with _typed_errors(request):
            return await self.http.get().request(
                request.method,
                url.update_query(request.query) if request.query else url,
                data=request.body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS),
            )


async def _reply(request: _Request, response: aiohttp.ClientResponse) -> WorkspaceReply:
    with _typed_errors(request):
        if response.ok:
            body = await read_body(response, request.max_reply_bytes)
        else:
            body = await read_beginning(response, MAX_ERROR_BYTES)
    sent = response.headers
    return WorkspaceReply(response.status, body, sent.get("Location"), sent.get("Retry-After"))


async def _chunks(request: _Request, response: aiohttp.ClientResponse, silence_seconds: float) -> AsyncGenerator[bytes]:
    while True:
        try:
            async with asyncio.timeout(silence_seconds):
                with _typed_errors(request):
                    chunk = await response.content.readany()
        except TimeoutError as error:
            raise WorkspaceTimeoutError(f"{request}: silent for {silence_seconds:g} s") from error
        if not chunk:
            return
        yield chunk


@contextmanager
def _typed_errors(request: _Request) -> Iterator[None]:
    try:
        yield
    except BodyTooLargeError as error:
        raise WorkspaceReplyError(f"{request}: {error}") from None
    except _NO_CONNECTION as error:
        raise WorkspaceUnreachableError(f"{request}: no connection ({type(error).__name__})") from error
    except (aiohttp.ClientError, OSError) as error:
        raise WorkspaceInterruptedError(f"{request}: the connection broke ({type(error).__name__})") from error


def api_path(api: str, *names: str) -> str:
    """`/api/2.0/serving-endpoints` and what is asked of it, each name as one segment of the path."""
    return "/".join([api, *map(path_segment, names)])
