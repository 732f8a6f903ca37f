"""Runs the turns of stored responses: at once, or from the queue where a worker is gone."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final

from agent_server.handlers.handler import Handler
from agent_server.handlers.request_context import RequestContext
from agent_server.identity.person_tokens import PersonTokens
from agent_server.identity.server_caller import ServerCaller
from agent_server.protocol.api_error import ApiError
from agent_server.protocol.task import Task
from agent_server.responses.handler_answerer import HandlerAnswerer
from agent_server.responses.response_records import ResponseRecord
from agent_server.responses.response_reply import ResponseReply
from agent_server.responses.response_stores import ResponseStores, log_key
from agent_server.responses.turn_call import ResponseTurn
from agent_server.tracing.request_trace import NO_TRACING, RequestTracer
from app.common.caller import Caller
from app.common.identity import APP_IDENTITY, RequestIdentity
from app.storage.ledger import TurnState
from app.storage.storage_errors import StorageError
from app.telemetry.spans import new_error_id
from app.turns.answerer import NoCommands
from app.turns.checkpoint import Checkpoint
from app.turns.claiming import ClaimedTurn
from app.turns.lease import TurnBackend
from app.turns.queue_message import TurnMessage, UnreadableMessageError
from app.turns.reply import UndeliveredError
from app.turns.runner import TurnRunner

_log = logging.getLogger(__name__)

_CLOSE_SECONDS: Final = 10.0
_KEEP_TRACE_SECONDS: Final = 2.0
_SUSPENDING_SECONDS: Final = 5.0
_LOOK_AGAIN_SECONDS: Final = 0.1
_WAITS_FOR_SIGN_IN_SECONDS: Final = 24 * 3600.0
STORAGE_UNAVAILABLE: Final = "The server's storage does not answer at the moment; please try again in a minute."
NOT_SUSPENDED_YET: Final = "The answer is not ready for your decision yet; please decide again in half a minute."
LOST: Final = "The answer was lost with the instance that made it; please ask again."
SIGN_IN_TOO_LATE: Final = "The answer waited a day for you to come back and is given up; please ask again."
WAITING_FOR_SIGN_IN: Final = "sign_in"


@dataclass(frozen=True, slots=True)
class _Payload:
    """`user_id` is empty where Databricks is asked as the app."""

    response: str
    user_id: str = ""

    def to_json(self) -> str:
        return json.dumps({"v": 1, "response": self.response, "user_id": self.user_id})

    @classmethod
    def from_json(cls, text: str) -> _Payload:
        """Raises `UnreadableMessageError`."""
        try:
            value = json.loads(text)
            return cls(str(value["response"]), str(value.get("user_id", "")))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UnreadableMessageError("payload: not that of a response") from None


class ResponseTurns:
    """`agent` is the Databricks agent, where the server has it."""

    def __init__(
        self,
        handler: Handler,
        task: Task,
        stores: ResponseStores,
        backend: TurnBackend,
        tokens: PersonTokens,
        *,
        time_limit_seconds: float,
        agent: Handler | None = None,
        tracer: RequestTracer = NO_TRACING,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._tokens = tokens
        self._agent = agent
        self._clock = clock
        self._runner = TurnRunner(
            HandlerAnswerer(handler, task, tracer, keep_trace=self._keep_trace),
            NoCommands(),
            backend,
            time_limit_seconds=time_limit_seconds,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies: dict[str, ResponseReply] = {}

    @property
    def running_count(self) -> int:
        return len(self._tasks)

    def start(self, record: ResponseRecord, context: RequestContext) -> None:
        """Its turn runs from now on."""
        self._spawn(self._run(record, context))

    async def waits_for(self, tenant: str, asked: ResponseRecord, waiting_for: str) -> bool:
        """Whether its turn waits for that decision. Raises `ApiError` while it is not known, and `StorageError`."""
        key = asked.turn_key(tenant)
        until = asyncio.get_running_loop().time() + _SUSPENDING_SECONDS
        while True:
            suspension = await self._runner.find_suspension(key)
            if suspension is not None:
                return suspension.waiting_for == waiting_for
            found = await self._stores.store.find(key)
            if found is None or found.state is not TurnState.STARTED:
                return False
            # The question was shown a moment ago, or its worker died in that moment.
            if asyncio.get_running_loop().time() > until:
                raise ApiError(503, NOT_SUSPENDED_YET, code="not_ready", type="server_error", retryable=True)
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def resume_suspended(self, tenant: str, suspended: ResponseRecord, waiting_for: str, approved: bool) -> bool:
        """False if its turn does not wait for that decision any more. Raises `StorageError`."""
        return await self._runner.resume_suspended(suspended.turn_key(tenant), waiting_for, approved=approved)

    async def handle(self, body: bytes) -> None:
        """A message of the queue. Raises `UnreadableMessageError` and `StorageError`."""
        message = TurnMessage.from_json(body)
        tenant = message.key.conversation.tenant
        identity = await self._identity_for(tenant, message)
        if identity is None:
            return
        claim = await self._runner.claim(message, _Payload.from_json)
        if not isinstance(claim, ClaimedTurn):
            return
        root = await self._stores.records.find(tenant, claim.request.response)
        record = root
        if root is not None and root.writes_to:
            record = await self._stores.records.find(tenant, root.writes_to)
        if root is None or record is None:
            # It was deleted.
            await claim.lease.close(TurnState.FAILED, ())
            return
        _log.info("A response is resumed, attempt %d", claim.lease.record.attempt_count)
        owner = tenant.removeprefix("apps/")
        caller = ServerCaller(owner, record.user_name, identity=identity)
        context = RequestContext(record.id, caller, {}, record.id, record.conversation, self._agent)
        # The turn is that of the response which asked; what is said now may belong to a later one.
        turn = self._turn(tenant, root, context)
        written = record
        self._spawn(
            self._guarded(
                tenant,
                written,
                self._runner.execute(claim.lease, turn, lambda checkpoint: self._reply(tenant, written, checkpoint)),
            )
        )

    async def look(self, response_id: str) -> None:
        """Lets the turn see at once what has been appended to its log, if it runs here."""
        if (reply := self._replies.get(response_id)) is not None:
            await reply.look()

    async def close(self) -> None:
        """Hands over what is running."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE_SECONDS)

    async def _run(self, record: ResponseRecord, context: RequestContext) -> None:
        tenant = context.caller.tenant
        context = replace(context, response_id=record.id, conversation_id=record.conversation, agent=self._agent)
        run = self._runner.run(
            self._turn(tenant, record, context),
            lambda checkpoint: self._reply(tenant, record, checkpoint),
            asked_at=record.created_at,
            payload=_Payload(record.id, record.user_id).to_json(),
        )
        await self._guarded(tenant, record, run)

    async def _guarded(self, tenant: str, record: ResponseRecord, run: Coroutine[Any, Any, None]) -> None:
        try:
            await run
        except UndeliveredError:
            # It is kept, and another attempt follows.
            _log.warning("The events of a response could not be written, error id %s", new_error_id())
        except StorageError as failure:
            _log.error("A response could not be entered (%s), error id %s", type(failure).__name__, new_error_id())
            await self._fail(tenant, record, STORAGE_UNAVAILABLE)
        except Exception:
            error_id = new_error_id()
            _log.exception("A response failed, error id %s", error_id)
            await self._fail(tenant, record, f"Something went wrong. Please try again. (Error id {error_id})")
        finally:
            self._replies.pop(record.id, None)
        await self._delete_if_unknown(tenant, record)

    async def _delete_if_unknown(self, tenant: str, record: ResponseRecord) -> None:
        """Of a response that was deleted while its turn ran, perhaps by another instance, nothing stays."""
        try:
            if await self._stores.records.find(tenant, record.id) is None:
                await self._stores.delete(tenant, record)
        except StorageError as failure:
            _log.warning("What is left of a deleted response could not be deleted (%s)", type(failure).__name__)

    async def _fail(self, tenant: str, record: ResponseRecord, sentence: str) -> None:
        try:
            await self._stores.end(tenant, record, lambda assembler: assembler.fail(sentence))
        except StorageError as failure:
            _log.warning("The end of a response could not be written (%s)", type(failure).__name__)

    async def _keep_trace(self, turn: ResponseTurn, trace_id: str) -> None:
        """So that a rating of a response that failed or was stopped counts there too."""
        if not trace_id or turn.context is None:
            return
        id = turn.context.response_id
        try:
            async with asyncio.timeout(_KEEP_TRACE_SECONDS):
                await self._stores.records.update(
                    turn.conversation.tenant, id, lambda record: replace(record, trace_id=trace_id)
                )
        except (StorageError, TimeoutError) as failure:
            _log.warning("A rating of this response will count here alone (%s)", type(failure).__name__)

    def _turn(self, tenant: str, record: ResponseRecord, context: RequestContext) -> ResponseTurn:
        key = record.turn_key(tenant)
        caller = Caller(user_id=context.caller.owner, name=context.caller.name)
        return ResponseTurn(
            id=key.activity_id,
            conversation=key.conversation,
            question=record.question,
            caller=caller,
            context=context,
            request=record.request,
            ancestors=frozenset(record.ancestors),
        )

    def _reply(self, tenant: str, record: ResponseRecord, checkpoint: Checkpoint) -> ResponseReply:
        async def ended() -> None:
            await self._stores.mark_ended(tenant, record)

        reply = ResponseReply(self._stores.log, log_key(tenant, record), checkpoint, ended)
        self._replies[record.id] = reply
        return reply

    async def _identity_for(self, tenant: str, message: TurnMessage) -> RequestIdentity | None:
        """None while the person as whom it goes on has not come back; the message is on the queue again."""
        payload = _Payload.from_json(message.payload)
        if not payload.user_id:
            return APP_IDENTITY
        if (identity := self._tokens.find(tenant.removeprefix("apps/"))) is not None:
            return identity
        record = await self._stores.records.find(tenant, payload.response)
        if record is not None and record.writes_to:
            record = await self._stores.records.find(tenant, record.writes_to)
        if record is None:
            return None
        if self._clock() - message.asked_at > _WAITS_FOR_SIGN_IN_SECONDS:
            await self._fail(tenant, record, SIGN_IN_TOO_LATE)
            return None
        found = await self._stores.store.find(message.key)
        if found is None or found.state is TurnState.STARTED:
            if found is None or found.lease_until <= self._clock():
                await self._say_that_it_waits(tenant, record)
            await self._runner.requeue(message)
        return None

    async def _say_that_it_waits(self, tenant: str, record: ResponseRecord) -> None:
        assembler = await self._stores.response(tenant, record)
        if assembler.status != "in_progress":
            return
        try:
            await self._stores.append(tenant, record, assembler.wait(WAITING_FOR_SIGN_IN))
        except StorageError as failure:
            _log.warning("A response that waits could not say so (%s)", type(failure).__name__)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
