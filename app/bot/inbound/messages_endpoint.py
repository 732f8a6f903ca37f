"""`POST /api/messages`: whatever comes in is answered as the Bot Framework wants, and never with a fault of ours."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from botbuilder.core import InvokeResponse, TurnContext
from botbuilder.schema import Activity, ActivityTypes
from botframework.connector.auth import AuthenticateRequestResult

from app.agent.user_messages import NOT_ENTERED, UNEXPECTED
from app.bot.auth.authentication import AuthenticationUnavailableError, UnauthenticatedError
from app.bot.connector.connector_replies import NotDeliveredError
from app.bot.connector.send_errors import SendError, ThrottledError
from app.bot.handler import ENTERED
from app.bot.inbound.activity import BadActivityError, locale_of, parse_activity
from app.bot.inbound.refusal_log import RefusalLog
from app.bot.rendering import activities
from app.bot.sdk.channel_adapter import Adapter
from app.http import HttpAnswer
from app.storage.storage_errors import StorageError
from app.telemetry.spans import new_error_id
from app.telemetry.telemetry import Telemetry
from app.telemetry.turn_span import something_shown, traced, turn_failed
from app.translation import translator_for
from app.turns.reply import UndeliveredError

_log = logging.getLogger(__name__)

# Teams repeats what is not acknowledged within 15 seconds, and wants an invoke answered within 5.
ACKNOWLEDGE_AFTER = 12.0
_ANSWER_INVOKES_WITHIN = 4.8
_NOT_DONE = "This was not done. Please try again."
_KINDS = frozenset(kind.value for kind in ActivityTypes)


@dataclass(slots=True)
class _Safe:
    """Whether an activity may be acknowledged while it is still being worked on."""

    yet: bool

    def now(self) -> None:
        self.yet = True


class RedeliveryNeededError(Exception):
    """What nobody waits to read about has to be told again."""


class MessagesEndpoint:
    """Times in seconds: `acknowledge_after` for messages, `time_limit` for callers who wait for the replies."""

    def __init__(
        self,
        adapter: Adapter,
        on_turn: Callable[[TurnContext], Awaitable[None]],
        telemetry: Telemetry,
        *,
        acknowledge_after: float = ACKNOWLEDGE_AFTER,
        time_limit: float = 200.0,
    ) -> None:
        self._adapter = adapter
        self._on_turn = on_turn
        self._telemetry = telemetry
        self._acknowledge_after = acknowledge_after
        self._time_limit = time_limit
        self._running: set[asyncio.Task[InvokeResponse | None]] = set()
        # Those whose caller waits for the answer: nobody else can give it.
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
        """`traceparent` names the trace that the host has begun for this call."""
        began = asyncio.get_running_loop().time()
        if method.upper() != "POST":
            return HttpAnswer(HTTPStatus.METHOD_NOT_ALLOWED, "Send activities with POST.", headers={"Allow": "POST"})
        try:
            # Whether it is an invoke, which waits no longer, is not known yet.
            async with asyncio.timeout(_ANSWER_INVOKES_WITHIN):
                caller = await self._adapter.admit(headers, client_address)
            # What a stranger sends is not even parsed.
            activity = parse_activity(body)
            if activity.type == "message" and not (activity.conversation and activity.conversation.id):
                raise BadActivityError("A message needs the id of its conversation.")
            identity = self._adapter.identify(caller, activity)
        except BadActivityError as bad:
            self._refusals.note(f"{bad.status:d}, {bad.sentence}")
            return HttpAnswer(bad.status, bad.sentence)
        except UnauthenticatedError as refusal:
            self._refusals.note(f"401, {refusal}")
            return HttpAnswer(HTTPStatus.UNAUTHORIZED, "This activity is not authenticated.")
        except (AuthenticationUnavailableError, TimeoutError) as failure:
            self._refusals.note(f"503, who sends it cannot be known now: {failure or 'no answer in time'}")
            return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_DONE)
        if self._closed:
            # This worker ends: its repeat goes to another.
            return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_DONE)
        safe = _Safe(not _must_be_done(activity))
        return await self._acknowledge(activity, self._traced(identity, activity, traceparent, safe), began, safe)

    async def _traced(
        self, identity: AuthenticateRequestResult, activity: Activity, traceparent: str | None, safe: _Safe
    ) -> InvokeResponse | None:
        async def logic(context: TurnContext) -> None:
            context.turn_state[ENTERED] = safe.now
            await self._guarded(context, safe)

        with traced(self._telemetry.activity(_kind(activity), traceparent)):
            response: InvokeResponse | None = await self._adapter.process_activity(identity, activity, logic)
            if _expects_replies(activity):
                something_shown()
            return response

    async def _acknowledge(
        self, activity: Activity, work: Coroutine[Any, Any, InvokeResponse | None], began: float, safe: _Safe
    ) -> HttpAnswer:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._finished)
        caller_waits = activity.type == "invoke" or _expects_replies(activity)
        if caller_waits:
            self._awaited.add(task)
        left = began + self._patience(activity) - asyncio.get_running_loop().time()
        await asyncio.wait([task], timeout=max(left, 0.0))
        if not task.done():
            if caller_waits:
                # Nobody can hear it any more.
                task.cancel()
                return HttpAnswer(HTTPStatus.GATEWAY_TIMEOUT, _NOT_DONE)
            return (
                HttpAnswer(HTTPStatus.ACCEPTED) if safe.yet else HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_DONE)
            )
        if task.cancelled():
            # The worker ends. Whether the turn was entered is not known here; its repeat finds out.
            return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_DONE)
        if task.exception() is not None:
            repeats = caller_waits or isinstance(task.exception(), RedeliveryNeededError)
            return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, _NOT_DONE) if repeats else HttpAnswer(HTTPStatus.OK)
        return _as_http(task.result())

    def _patience(self, activity: Activity) -> float:
        """Seconds from when the activity came in."""
        if activity.type == "invoke":
            return _ANSWER_INVOKES_WITHIN
        return self._time_limit if _expects_replies(activity) else self._acknowledge_after

    def _finished(self, task: asyncio.Task[InvokeResponse | None]) -> None:
        self._running.discard(task)
        self._awaited.discard(task)
        if (
            not task.cancelled()
            and (error := task.exception()) is not None
            and not isinstance(error, RedeliveryNeededError)
        ):
            _log.error("A turn ended unexpectedly", exc_info=error)
        self._telemetry.answered()

    async def _guarded(self, context: TurnContext, safe: _Safe) -> None:
        """Nobody is left without an answer, whatever broke."""
        try:
            await self._on_turn(context)
        except (SendError, UndeliveredError) as failure:
            # The channel does not take what we say: telling the person so would go the same way.
            turn_failed(failure)
            _log.exception("An answer could not be delivered, error id %s", new_error_id())
        except Exception as error:
            turn_failed(error)
            error_id = new_error_id()
            _log.error("Turn failed, error id %s", error_id, exc_info=error)
            if context.activity.type in ("message", "messageUpdate"):
                # Whoever is told to ask again is not to be told so with every repeat.
                safe.now()
                say = translator_for(locale_of(context.activity))
                sentence = say(NOT_ENTERED if isinstance(error, StorageError) else UNEXPECTED)
                await self._tell(context, activities.failure_note(sentence, error_id, say))
            elif context.activity.type == "invoke" or isinstance(error, StorageError):
                raise RedeliveryNeededError from error

    async def _tell(self, context: TurnContext, sentence: str) -> None:
        try:
            await self._adapter.sender(context).post(activities.message(sentence))
        except (NotDeliveredError, ThrottledError) as failure:
            # Nobody was told. Where it is not acknowledged yet, the activity comes again.
            raise RedeliveryNeededError from failure
        except SendError as failure:
            _log.warning("The channel takes no word about a failure (%s)", type(failure).__name__)

    async def close(self, *, grace: float = 5.0) -> None:
        """Takes nothing more, hands running turns over; those whose caller waits get `grace` seconds to end."""
        self._closed = True
        for task in self._running - self._awaited:
            task.cancel()
        if self._awaited:
            await asyncio.wait(self._awaited, timeout=grace)
        for task in self._awaited:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        self._refusals.close()


def _must_be_done(activity: Activity) -> bool:
    """Before it is acknowledged: a message that no ledger has would be lost with its worker, and what says that the app
    was removed would leave what was said there.
    """
    match activity.type:
        case "message" | "messageUpdate":
            return True
        case "installationUpdate":
            return bool(activity.action == "remove")
        case "conversationUpdate":
            return bool(activity.members_removed)
    return False


def _kind(activity: Activity) -> str:
    """Its type where that is one of the protocol's: a stranger's word would be a name of its own in every chart."""
    return activity.type if activity.type in _KINDS else "other"


def _expects_replies(activity: Activity) -> bool:
    return bool(activity.delivery_mode == "expectReplies")


def _as_http(response: InvokeResponse | None) -> HttpAnswer:
    if response is None:
        return HttpAnswer(HTTPStatus.OK)
    if response.body is None:
        return HttpAnswer(int(response.status))
    return HttpAnswer(int(response.status), json.dumps(response.body), "application/json")
