"""`POST /api/messages`: authenticates and parses an activity, and answers with the HTTP status the Bot Framework wants.

No fault of ours becomes a 500.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from botbuilder.core import InvokeResponse, TurnContext
from botbuilder.schema import Activity, ActivityTypes
from botframework.connector.auth import AuthenticateRequestResult

from app.access_tokens.access_token import AuthenticationUnavailableError, UnauthenticatedError
from app.bot.inbound.activity import BadActivityError, parse_activity
from app.bot.sdk.channel_adapter import ChannelAdapter
from app.common.refusal_log import RefusalLog
from app.http import HttpAnswer
from app.telemetry.telemetry import Telemetry
from app.telemetry.turn_span import something_shown, traced

_log = logging.getLogger(__name__)

# Teams redelivers what is not acknowledged within 15 seconds, and wants an invoke answered within 5.
ACKNOWLEDGE_AFTER_SECONDS = 12.0
_INVOKE_SECONDS = 4.8
_NOT_DONE = "This was not done. Please try again."
_KNOWN_TYPES = frozenset(kind.value for kind in ActivityTypes)


class RedeliveryNeededError(Exception):
    """The activity was not handled, and the person was not told: the channel has to deliver it again."""


class Handler(Protocol):
    """Handles one activity. `is_durable`: it may be acknowledged while it is still being handled."""

    is_durable: bool

    async def on_turn(self, turn_context: TurnContext) -> None:
        """Raises `RedeliveryNeededError`."""
        ...


class MessagesEndpoint:
    """`new_handler` makes the handler of one activity.

    `acknowledge_after_seconds` is for messages, `time_limit` for callers who wait for the replies; both in seconds.
    """

    def __init__(
        self,
        adapter: ChannelAdapter,
        new_handler: Callable[[Activity], Handler],
        telemetry: Telemetry,
        *,
        acknowledge_after_seconds: float = ACKNOWLEDGE_AFTER_SECONDS,
        time_limit_seconds: float = 200.0,
    ) -> None:
        self._adapter = adapter
        self._new_handler = new_handler
        self._telemetry = telemetry
        self._acknowledge_after_seconds = acknowledge_after_seconds
        self._time_limit_seconds = time_limit_seconds
        self._running: set[asyncio.Task[InvokeResponse | None]] = set()
        # Those whose caller waits for the response, which no other worker can give.
        self._awaited: set[asyncio.Task[InvokeResponse | None]] = set()
        self._refusals = RefusalLog()
        self._closed = False

    async def receive(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes,
        client_address: str | None = None,
        traceparent: str | None = None,
    ) -> HttpAnswer:
        """`traceparent` is that of the host's own trace of this call."""
        received_at = asyncio.get_running_loop().time()
        if method.upper() != "POST":
            return HttpAnswer(HTTPStatus.METHOD_NOT_ALLOWED, "Send activities with POST.", headers={"Allow": "POST"})
        try:
            # It may be an invoke, which has less time: the body is not parsed yet.
            async with asyncio.timeout(_INVOKE_SECONDS):
                sender = await self._adapter.authenticate(headers, client_address)
            # Only an authenticated sender's body is parsed.
            activity = parse_activity(body)
            if activity.type == "message" and not (activity.conversation and activity.conversation.id):
                raise BadActivityError("A message needs the id of its conversation.")
            authorized = self._adapter.authorize(sender, activity)
        except BadActivityError as bad:
            self._refusals.note(f"{bad.status:d}, {bad.sentence}")
            return HttpAnswer(bad.status, bad.sentence)
        except UnauthenticatedError as refusal:
            self._refusals.note(f"401, {refusal}")
            return HttpAnswer(HTTPStatus.UNAUTHORIZED, "This activity is not authenticated.")
        except (AuthenticationUnavailableError, TimeoutError) as failure:
            self._refusals.note(f"503, its sender cannot be authenticated now: {failure or 'no answer in time'}")
            return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_DONE)
        if self._closed:
            # Redelivered, it reaches another worker.
            return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_DONE)
        handler = self._new_handler(activity)
        return await self._acknowledge(
            activity, handler, self._handle(authorized, activity, handler, traceparent), received_at
        )

    async def _handle(
        self, authorized: AuthenticateRequestResult, activity: Activity, handler: Handler, traceparent: str | None
    ) -> InvokeResponse | None:
        with traced(self._telemetry.activity(_type_for_trace(activity), traceparent)):
            response: InvokeResponse | None = await self._adapter.process_activity(
                authorized, activity, handler.on_turn
            )
            if _expects_replies(activity):
                something_shown()
            return response

    async def _acknowledge(
        self,
        activity: Activity,
        handler: Handler,
        handling: Coroutine[Any, Any, InvokeResponse | None],
        received_at: float,
    ) -> HttpAnswer:
        task = asyncio.create_task(handling)
        self._running.add(task)
        task.add_done_callback(self._finished)
        caller_waits = activity.type == "invoke" or _expects_replies(activity)
        if caller_waits:
            self._awaited.add(task)
        seconds_left = received_at + self._seconds_to_answer(activity) - asyncio.get_running_loop().time()
        await asyncio.wait([task], timeout=max(seconds_left, 0.0))
        if not task.done():
            if caller_waits:
                # The caller no longer waits for the response.
                task.cancel()
                return HttpAnswer(HTTPStatus.GATEWAY_TIMEOUT, _NOT_DONE)
            if handler.is_durable:
                return HttpAnswer(HTTPStatus.ACCEPTED)
            return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_DONE)
        if task.cancelled():
            # This worker is shutting down. Whether the turn was entered, the redelivery finds out.
            return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_DONE)
        if (error := task.exception()) is not None:
            redeliver = caller_waits or isinstance(error, RedeliveryNeededError)
            return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_DONE) if redeliver else HttpAnswer(HTTPStatus.OK)
        return _as_http(task.result())

    def _seconds_to_answer(self, activity: Activity) -> float:
        """From when the activity was received."""
        if activity.type == "invoke":
            return _INVOKE_SECONDS
        return self._time_limit_seconds if _expects_replies(activity) else self._acknowledge_after_seconds

    def _finished(self, task: asyncio.Task[InvokeResponse | None]) -> None:
        self._running.discard(task)
        self._awaited.discard(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None and not isinstance(error, RedeliveryNeededError):
                _log.error("A turn ended unexpectedly", exc_info=error)
        self._telemetry.answered()

    async def close(self, *, grace_seconds: float = 5.0) -> None:
        """Refuses new activities and hands running turns over; those whose caller waits get `grace` seconds to end."""
        self._closed = True
        for task in self._running - self._awaited:
            task.cancel()
        if self._awaited:
            await asyncio.wait(self._awaited, timeout=grace_seconds)
        for task in self._awaited:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        self._refusals.close()


def _type_for_trace(activity: Activity) -> str:
    """The activity's type if the protocol knows it: anything else would become a name of its own in every chart."""
    return activity.type if activity.type in _KNOWN_TYPES else "other"


def _expects_replies(activity: Activity) -> bool:
    return bool(activity.delivery_mode == "expectReplies")


def _as_http(response: InvokeResponse | None) -> HttpAnswer:
    if response is None:
        return HttpAnswer(HTTPStatus.OK)
    if response.body is None:
        return HttpAnswer(int(response.status))
    return HttpAnswer(int(response.status), json.dumps(response.body), "application/json")
