"""Sends to a channel: the Bot Framework's connector API, over one pool of connections.

https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp
from yarl import URL

from app.bot.auth.app_credentials import TokenError, TokenUnreachableError
from app.bot.auth.service_url import ServiceUrls, UntrustedServiceUrlError
from app.bot.connector.send_error_classification import ChannelResponse, classify_send_error
from app.bot.connector.send_errors import (
    DeliveryUnknownError,
    NotDeliveredError,
    SendRefusedError,
    StoppedByUserError,
    ThrottledError,
)
from app.common.http_session import HttpSession
from app.common.net import path_segment
from app.resilience.retry import Backoff, retry
from app.telemetry.span_records import SpanKind
from app.telemetry.spans import start_span
from app.telemetry.turn_span import something_shown

Json = Mapping[str, Any]

_BACKOFF = Backoff(1.0, longest_seconds=16.0, jitter=0.5)
_MIN_PAUSE_SECONDS = 0.5
_MIN_TIMEOUT_SECONDS = 1.0
_MAX_RESPONSE_BYTES = 256 * 1024


class Tokens(Protocol):
    """As `app.bot.auth.app_credentials.AppCredentials`."""

    async def token(self) -> str | None: ...

    def forget(self, token: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Request:
    what: str
    method: str
    url: URL
    body: bytes | None = None
    streams: bool = False


class ConnectorClient:
    """Every call raises a `SendError` unless the channel took it.

    A call is repeated for `retry_seconds`; with 0 it is made once. The two time limits are for one try. `jitter` gives
    numbers from 0 to 1.
    """

    def __init__(
        self,
        session: HttpSession,
        tokens: Tokens,
        service_urls: ServiceUrls,
        *,
        timeout_seconds: float = 15.0,
        connect_timeout_seconds: float = 5.0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._session = session
        self._tokens = tokens
        self._service_urls = service_urls
        self._timeout_seconds = timeout_seconds
        self._connect_timeout_seconds = connect_timeout_seconds
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter

    async def send(
        self,
        service_url: str,
        conversation_id: str,
        activity: Json,
        reply_to: str | None = None,
        *,
        retry_seconds: float = 0.0,
        targeted: bool = False,
    ) -> str | None:
        """Returns the activity's id, if the channel gave one. `targeted`: only the activity's recipient sees it."""
        path = ("activities", *([reply_to] if reply_to else []))
        url = self._url(service_url, conversation_id, *path, targeted=targeted)
        request = _Request(str(activity.get("type")), "POST", url, _encoded(activity), _is_streamed(activity))
        return _id_in(await self._send(request, retry_seconds))

    async def update(
        self,
        service_url: str,
        conversation_id: str,
        activity_id: str,
        activity: Json,
        *,
        retry_seconds: float = 0.0,
        targeted: bool = False,
    ) -> str | None:
        """Returns the activity's id, if the channel gave one. `targeted` must be as it was sent."""
        url = self._url(service_url, conversation_id, "activities", activity_id, targeted=targeted)
        return _id_in(await self._send(_Request("edit", "PUT", url, _encoded(activity)), retry_seconds))

    async def delete(
        self, service_url: str, conversation_id: str, activity_id: str, *, retry_seconds: float = 0.0
    ) -> None:
        url = self._url(service_url, conversation_id, "activities", activity_id)
        await self._send(_Request("deletion", "DELETE", url), retry_seconds)

    async def member(self, service_url: str, conversation_id: str, user_id: str, *, retry_seconds: float = 0.0) -> Json:
        """What the channel tells of a member of the conversation; Teams also takes an Entra object id."""
        url = self._url(service_url, conversation_id, "members", user_id)
        return (await self._send(_Request("member", "GET", url), retry_seconds)).fields

    async def create_conversation(self, service_url: str, parameters: Json, *, retry_seconds: float = 0.0) -> Json:
        """Returns the channel's answer: `id`, and where the channel gives them `activityId` and `serviceUrl`."""
        request = _Request("conversation", "POST", self._url(service_url), _encoded(parameters))
        return (await self._send(request, retry_seconds)).fields

    def _url(self, service_url: str, *path: str, targeted: bool = False) -> URL:
        # Checked here too: the bot's token is sent to this address.
        try:
            trusted = self._service_urls.check(service_url)
        except UntrustedServiceUrlError as error:
            raise SendRefusedError(str(error)) from None
        if not all(path):
            raise SendRefusedError("the activity or its conversation has no id")
        # https://learn.microsoft.com/microsoftteams/platform/agents-in-teams/targeted-messages
        query = "?isTargetedActivity=true" if targeted else ""
        return URL("/".join([trusted.rstrip("/"), "v3/conversations", *map(path_segment, path)]) + query, encoded=True)

    async def _send(self, request: _Request, retry_seconds: float) -> ChannelResponse:
        # Not the attributes of HTTP: Application Insights would show "POST" instead of the span's name.
        attributes = {"messaging.system": "bot_framework", "messaging.destination.name": request.url.host or ""}
        with start_span(f"send {request.what}", SpanKind.CLIENT, attributes) as span:
            response = await self._deliver(request, retry_seconds)
            if not something_shown() and retry_seconds <= 0:
                # One of the many updates of a stream: in a trace they would hide everything else.
                span.discard()
            return response

    async def _deliver(self, request: _Request, retry_seconds: float) -> ChannelResponse:
        deadline = self._clock() + retry_seconds if retry_seconds > 0 else None
        return await retry(
            lambda: self._try(request, deadline),
            lambda failure, attempt: self._pause_after(request, failure, attempt),
            limit_seconds=retry_seconds,
            clock=self._clock,
            sleep=self._sleep,
        )

    def _pause_after(self, request: _Request, failure: Exception, attempt: int) -> float | None:
        if isinstance(failure, ThrottledError) and failure.retry_after_seconds is not None:
            return max(failure.retry_after_seconds, _MIN_PAUSE_SECONDS)
        # Teams asks to repeat 412, 429, 502 and 504. After 412 and 429 nothing was posted. After the others, or a lost
        # connection, a message may have been posted: only edits and deletions are repeated.
        # https://learn.microsoft.com/microsoftteams/platform/bots/how-to/rate-limit
        repeatable = (NotDeliveredError, ThrottledError, *(() if request.method == "POST" else (DeliveryUnknownError,)))
        return _BACKOFF.pause_seconds(attempt, self._jitter()) if isinstance(failure, repeatable) else None

    async def _try(self, request: _Request, deadline: float | None) -> ChannelResponse:
        token = await self._token()
        response = await self._exchange(request, token, deadline)
        if response.status == 401 and token is not None:
            self._tokens.forget(token)
            response = await self._exchange(request, await self._token(), deadline)
        if 200 <= response.status < 300:
            return response
        raise classify_send_error(response, streams=request.streams, now=datetime.now(UTC))

    async def _token(self) -> str | None:
        try:
            return await self._tokens.token()
        except TokenUnreachableError as failure:
            raise NotDeliveredError(str(failure)) from failure
        except TokenError as failure:
            raise SendRefusedError(str(failure)) from failure

    async def _exchange(self, request: _Request, token: str | None, deadline: float | None) -> ChannelResponse:
        timeout = self._timeout_seconds
        if deadline is not None:
            timeout = min(timeout, max(deadline - self._clock(), _MIN_TIMEOUT_SECONDS))
        headers = {"Content-Type": "application/json; charset=utf-8", "Accept": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            async with self._session.get().request(
                request.method,
                request.url,
                data=request.body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout, connect=min(timeout, self._connect_timeout_seconds)),
            ) as response:
                return ChannelResponse(response.status, await _read(response), response.headers.get("Retry-After"))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            if token is None and isinstance(getattr(error, "os_error", None), ConnectionRefusedError):
                # Without a token the channel is a terminal or a page on this machine, and it was closed.
                raise StoppedByUserError("the local channel is gone") from error
            raise NotDeliveredError(f"no connection to the channel ({type(error).__name__})") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Without the error's text, which may quote what a server has sent and would go to the log.
            raise DeliveryUnknownError(f"no answer from the channel ({type(error).__name__})") from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > _MAX_RESPONSE_BYTES:
                response.close()
                break
    except (aiohttp.ClientError, TimeoutError):
        # The status is enough to know what happened.
        response.close()
    return bytes(body)


def _encoded(content: Json) -> bytes:
    # A model may write half a surrogate pair, which UTF-8 cannot: it becomes a question mark.
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _is_streamed(activity: Json) -> bool:
    entities = activity.get("entities") or ()
    return any(isinstance(entity, Mapping) and entity.get("type") == "streaminfo" for entity in entities)


def _id_in(response: ChannelResponse) -> str | None:
    resource_id = response.fields.get("id")
    return resource_id if isinstance(resource_id, str) and resource_id else None
