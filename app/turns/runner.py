"""Answers every turn once: enters it, or takes it over, and makes an attempt."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

from app.agent.agent import Agent
from app.agent.commands import Commands
from app.agent.turn import Turn
from app.storage.ledger import TurnKey
from app.turns.attempt import Attempt
from app.turns.desk import Desk
from app.turns.handover import HandOver
from app.turns.held import HeldTurn, Shelf
from app.turns.progress import Progress
from app.turns.reply import Reply

_log = logging.getLogger(__name__)

# In seconds.
_LONGEST_ENTERING_AT_THE_END = 2.0

MOST_HANDED_OVER = 40_000
"""Characters of a question that is too long for a message."""

OpenReply = Callable[[Progress], Reply]
"""Makes the reply that goes on from there; called once the turn is this worker's."""


class TurnRunner:
    """`time_limit` in seconds is for the whole answer, tools included."""

    def __init__(self, agent: Agent, commands: Commands, shelf: Shelf, *, time_limit: float) -> None:
        self._agent = agent
        self._commands = commands
        self._shelf = shelf
        self._desk = Desk(shelf)
        self._time_limit = time_limit

    async def run(
        self,
        turn: Turn,
        open_reply: OpenReply,
        *,
        begun: str | None = None,
        traceparent: str | None = None,
        time_limit: float = math.inf,
    ) -> None:
        """Does nothing for a turn that has been entered before, here or elsewhere.

        `begun` is what another worker needs to go on with it; without it nobody can. `time_limit` in seconds is what
        the door allows, where that is less than the runner's own. Raises `app.storage.failures.StorageFailed` where
        the turn could not be entered, and what kept the person from seeing the end of the answer; every other failure
        has been told to them.
        """
        key = TurnKey(turn.conversation, turn.id)
        hand_over = None if begun is None else HandOver(key, self._shelf.clock(), begun, traceparent)
        if hand_over is not None and len(hand_over.begun) > MOST_HANDED_OVER and not hand_over.fits:
            # Neither a message nor a row has room for it.
            hand_over = None
        held = await self._enter(key, hand_over)
        if held is None:
            _log.info("A turn was delivered again; it is not answered again")
            return
        await self._attempt(held, turn, open_reply, time_limit)

    async def _enter(self, key: TurnKey, hand_over: HandOver | None) -> HeldTurn | None:
        entering = asyncio.create_task(self._desk.enter(key, hand_over))
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            # The worker ends: what is being entered is another's as soon as it is.
            await asyncio.wait([entering], timeout=_LONGEST_ENTERING_AT_THE_END)
            if not entering.done():
                entering.cancel()
                await asyncio.wait([entering])
            elif entering.exception() is None and (held := entering.result()) is not None:
                await held.give_back()
            raise

    async def take_over(self, hand_over: HandOver) -> HeldTurn | None:
        """None for a turn that is closed, or that somebody works on. Raises `StorageFailed`."""
        return await self._desk.take_over(hand_over)

    async def put_off(self, hand_over: HandOver) -> None:
        """Brings it back in the time of a lease. Raises `StorageFailed`."""
        await self._shelf.queue.put(hand_over.written(), hidden_for=self._shelf.lease)

    async def go_on(self, held: HeldTurn, turn: Turn, open_reply: OpenReply, *, time_limit: float = math.inf) -> None:
        """Raises as `run`."""
        await self._attempt(held, turn, open_reply, time_limit)

    async def _attempt(self, held: HeldTurn, turn: Turn, open_reply: OpenReply, time_limit: float) -> None:
        limit = min(time_limit, self._time_limit)
        attempt = Attempt(self._agent, self._commands, self._shelf.store, self._desk, held, turn, limit)
        await attempt.run(open_reply(held.progress))
