"""Answers every turn once: enters it, or takes it over, and makes an attempt."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any

from app.agent.agent import Agent
from app.agent.commands import Commands
from app.agent.turn import Turn
from app.storage.ledger import TurnKey
from app.turns.checkpoint import Checkpoint
from app.turns.claiming import TurnClaims
from app.turns.execution import TurnExecution
from app.turns.lease import TurnBackend, TurnLease
from app.turns.ordering import when_asked
from app.turns.queue_message import TurnMessage
from app.turns.reply import Reply

_log = logging.getLogger(__name__)

# In seconds.
_LONGEST_TAKING_AT_THE_END = 2.0

MOST_HANDED_OVER = 40_000
"""Characters of a question that is too long for a message."""

OpenReply = Callable[[Checkpoint], Reply]
"""Makes the reply that goes on from there; called once the turn is this worker's."""


class TurnRunner:
    """`time_limit` in seconds is for the whole answer, tools included."""

    def __init__(self, agent: Agent, commands: Commands, shelf: TurnBackend, *, time_limit: float) -> None:
        self._agent = agent
        self._commands = commands
        self._shelf = shelf
        self._desk = TurnClaims(shelf)
        self._time_limit = time_limit

    async def run(
        self,
        turn: Turn,
        open_reply: OpenReply,
        *,
        asked_at: float | None = None,
        payload: str | None = None,
        traceparent: str | None = None,
        time_limit: float = math.inf,
        entered: Callable[[], object] = lambda: None,
    ) -> None:
        """Does nothing for a turn that has been entered before, here or elsewhere.

        `asked_at`, in seconds since 1970, is the channel's word, where it says when the question was asked: among those
        that are not answered yet it is answered in that order. `payload` is what another worker needs to go on with it;
        without it nobody can. `time_limit` in seconds is what the door allows, where that is less than the runner's
        own. `entered` is called when the ledger has the turn.

        Raises `app.storage.storage_errors.StorageError` where the turn could not be entered, and what kept the person
        from
        seeing the end of the answer; every other failure has been told to them.
        """
        key = TurnKey(turn.conversation, turn.id)
        asked_at = when_asked(asked_at, self._shelf.clock())
        turn_message = None if payload is None else TurnMessage(key, asked_at, payload, traceparent)
        if turn_message is not None and len(turn_message.payload) > MOST_HANDED_OVER and not turn_message.fits:
            # Neither a message nor a row has room for it.
            turn_message = None
        held = await self._unless_the_worker_ends(self._desk.enter(key, turn_message, asked_at=asked_at))
        entered()
        if held is None:
            _log.info("A turn was delivered again; it is not answered again")
            return
        await self._attempt(held, turn, open_reply, time_limit)

    async def _unless_the_worker_ends(self, taking: Coroutine[Any, Any, TurnLease | None]) -> TurnLease | None:
        task = asyncio.create_task(taking)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # What is being taken is another's as soon as it is.
            await asyncio.wait([task], timeout=_LONGEST_TAKING_AT_THE_END)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            elif task.exception() is None and (held := task.result()) is not None:
                await held.release()
            raise

    async def claim(
        self, turn_message: TurnMessage, *, has_predecessor: Callable[[str], object] = lambda _: None
    ) -> TurnLease | None:
        """None for a turn that is closed, that somebody works on, or that has gone back to the queue because it has to
        wait for an earlier one: then `has_predecessor` is called with what it begins with. Raises `StorageError`.
        """
        return await self._unless_the_worker_ends(self._desk.claim(turn_message, has_predecessor=has_predecessor))

    async def requeue(self, turn_message: TurnMessage) -> None:
        """Brings it back in the time of a lease. Raises `StorageError`."""
        await self._shelf.queue.put(turn_message.written(), visibility_timeout=self._shelf.lease)

    async def go_on(self, held: TurnLease, turn: Turn, open_reply: OpenReply, *, time_limit: float = math.inf) -> None:
        """Raises as `run`."""
        await self._attempt(held, turn, open_reply, time_limit)

    async def _attempt(self, held: TurnLease, turn: Turn, open_reply: OpenReply, time_limit: float) -> None:
        limit = min(time_limit, self._time_limit)
        attempt = TurnExecution(self._agent, self._commands, self._shelf.store, self._desk, held, turn, limit)
        await attempt.run(open_reply(held.progress))
