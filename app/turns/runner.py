"""Answers every turn once: enters or claims it, and makes an attempt."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from app.agent.turn import Turn
from app.storage.ledger import TurnKey
from app.turns.answerer import Answerer, CommandAnswerer
from app.turns.checkpoint import Checkpoint, Suspension
from app.turns.claiming import ClaimedTurn, DecodeRequest, RequestT, TurnClaims, WaitingTurn
from app.turns.execution import TurnExecution
from app.turns.lease import TurnBackend, TurnLease
from app.turns.ordering import when_asked
from app.turns.queue_message import TurnMessage
from app.turns.reply import Reply

_log = logging.getLogger(__name__)

_CLAIM_GRACE_SECONDS = 2.0

MAX_PAYLOAD_CHARACTERS = 40_000
"""Of a question that is too long for a message, and is kept in the ledger."""

OpenReply = Callable[[Checkpoint], Reply]
"""Makes the reply that continues from there; called once the turn is this worker's."""

_ClaimT = TypeVar("_ClaimT")


class TurnRunner:
    """`time_limit` in seconds is for the whole answer, tools included."""

    def __init__(
        self, agent: Answerer, commands: CommandAnswerer, backend: TurnBackend, *, time_limit_seconds: float
    ) -> None:
        self._agent = agent
        self._commands = commands
        self._backend = backend
        self._claims = TurnClaims(backend)
        self._time_limit_seconds = time_limit_seconds

    async def run(
        self,
        turn: Turn,
        open_reply: OpenReply,
        *,
        asked_at: float | None = None,
        payload: str | None = None,
        traceparent: str | None = None,
        time_limit_seconds: float = math.inf,
        entered: Callable[[], object] = lambda: None,
    ) -> None:
        """Does nothing for a turn that has been entered before, here or elsewhere.

        `asked_at`, in seconds since 1970, is the channel's timestamp of the question, if it has one: questions are
        answered in that order. `payload` is what another worker needs to continue; without it none can. `time_limit` in
        seconds is what the channel allows, where that is less than the runner's own. `entered` is called when the turn
        is in the ledger.

        Raises `app.storage.storage_errors.StorageError` where the turn could not be entered, and what kept the person
        from seeing the end of the answer; every other failure has been told to them.
        """
        key = TurnKey(turn.conversation, turn.id)
        asked_at = when_asked(asked_at, self._backend.clock())
        message = None if payload is None else TurnMessage(key, asked_at, payload, traceparent)
        if message is not None and len(message.payload) > MAX_PAYLOAD_CHARACTERS and not message.has_room_for_payload:
            # Neither a message nor a row has room for it.
            message = None
        lease = await self._release_if_cancelled(self._claims.enter(key, message, asked_at=asked_at), lambda it: it)
        entered()
        if lease is None:
            _log.info("A turn was delivered again; it is not answered again")
            return
        await self.execute(lease, turn, open_reply, time_limit_seconds=time_limit_seconds)

    async def enter(self, message: TurnMessage, *, waits: bool = False) -> TurnLease | None:
        """For questions that a queue brings; `execute` answers them. Their `asked_at` counts as it is.

        None for a turn that has been entered before, here or elsewhere. One that `waits` gives earlier ones, which come
        to other workers, time to be entered. Raises `StorageError`.
        """
        return await self._release_if_cancelled(
            self._claims.enter(message.key, message, waits=waits), lambda lease: lease
        )

    async def claim(
        self, message: TurnMessage, decode: DecodeRequest[RequestT]
    ) -> ClaimedTurn[RequestT] | WaitingTurn[RequestT] | None:
        """None for a turn that is closed, or that another worker has. Raises `StorageError`, and what `decode` raises:
        then the turn is as it was.
        """
        return await self._release_if_cancelled(
            self._claims.claim(message, decode), lambda claim: claim.lease if isinstance(claim, ClaimedTurn) else None
        )

    async def find_suspension(self, key: TurnKey) -> Suspension | None:
        """What the turn waits for; None if it waits for nothing. Raises `StorageError`."""
        return await self._claims.find_suspension(key)

    async def resume_suspended(self, key: TurnKey, waiting_for: str, *, approved: bool) -> bool:
        """Brings the decision that a suspended turn waits for: a worker continues it. False if it does not wait for
        that any more, because it has been decided.

        To be called again if it did not return. Raises `StorageError`.
        """
        return await self._claims.resume_suspended(key, waiting_for, approved=approved)

    async def requeue(self, message: TurnMessage) -> None:
        """It becomes visible again after the time of a lease. Raises `StorageError`."""
        await self._backend.queue.put(message.to_json(), visibility_timeout=self._backend.lease_seconds)

    async def execute(
        self, lease: TurnLease, turn: Turn, open_reply: OpenReply, *, time_limit_seconds: float = math.inf
    ) -> None:
        """Raises as `run`."""
        execution = TurnExecution(
            self._agent,
            self._commands,
            self._backend,
            self._claims.predecessors,
            lease,
            turn,
            min(time_limit_seconds, self._time_limit_seconds),
        )
        await execution.run(open_reply(lease.checkpoint))

    async def _release_if_cancelled(
        self, claiming: Coroutine[Any, Any, _ClaimT], lease_of: Callable[[_ClaimT], TurnLease | None]
    ) -> _ClaimT:
        """When this worker ends, what it was just claiming is released, so that another one has it at once."""
        task = asyncio.create_task(claiming)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=_CLAIM_GRACE_SECONDS)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            elif task.exception() is None and (lease := lease_of(task.result())) is not None:
                await lease.release()
            raise
