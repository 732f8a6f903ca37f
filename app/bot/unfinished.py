"""Queue `turns`: a turn whose worker is gone goes on here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from app.bot.adapter import Adapter
from app.bot.asked import Asked, asked_in
from app.bot.bot import reply_to
from app.bot.rendering import activities
from app.bot.send_failures import SendFailure
from app.storage.failures import StorageFailed
from app.telemetry.spans import new_error_id
from app.telemetry.telemetry import Telemetry
from app.telemetry.turn import traced, turn_failed, turn_resumed
from app.turns.handover import HandOver, UnreadableMessage, read_hand_over
from app.turns.held import HeldTurn
from app.turns.reply import Undelivered
from app.turns.runner import TurnRunner

_log = logging.getLogger(__name__)

# In seconds.
_LONGEST_TYPING = 2.0


class WorkerEnds(Exception):
    """The turn was not taken over: the host has to bring its message again."""


class UnfinishedTurns:
    def __init__(
        self,
        adapter: Adapter,
        runner: TurnRunner,
        telemetry: Telemetry,
        image_hosts: frozenset[str] = frozenset(),
    ) -> None:
        self._adapter = adapter
        self._runner = runner
        self._telemetry = telemetry
        self._image_hosts = image_hosts
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    async def resume(self, body: bytes, traceparent: str | None = None) -> None:
        """Returns when the message has done its service. Raises what lets the host bring it again."""
        if self._closed:
            raise WorkerEnds
        try:
            hand_over = read_hand_over(body)
            if hand_over.begun:
                # Before the turn is taken: what nobody here can read is left as it is.
                asked_in(hand_over)
        except UnreadableMessage as unreadable:
            self._refused(unreadable, traceparent)
            raise
        task = asyncio.create_task(self._traced(hand_over, traceparent))
        self._running.add(task)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            await asyncio.wait([task])
            self._running.discard(task)
        self._telemetry.answered()
        if task.cancelled():
            raise WorkerEnds
        task.result()

    async def close(self) -> None:
        """Hands running turns over, and takes no more."""
        self._closed = True
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _traced(self, hand_over: HandOver, traceparent: str | None) -> None:
        with traced(self._telemetry.activity("resume", hand_over.traceparent or traceparent)):
            waiting: list[str] = []
            held = await self._taken(hand_over, waiting.append)
            if held is not None:
                await self._go_on(held, hand_over)
            for begun in waiting:
                await self._show_typing(replace(hand_over, begun=begun))

    async def _show_typing(self, hand_over: HandOver) -> None:
        """Whoever asked it sees nothing else until the turn before it has ended: once each time it goes round."""
        try:
            asked = asked_in(hand_over)
        except UnreadableMessage:
            # Whoever goes on with it says so.
            return
        if not asked.channel.typing:
            return
        with suppress(SendFailure, TimeoutError):
            async with asyncio.timeout(_LONGEST_TYPING):
                await self._adapter.outlet_at(asked.address).post(activities.typing(), impatient=True)

    async def _taken(self, hand_over: HandOver, waits: Callable[[str], object]) -> HeldTurn | None:
        try:
            try:
                return await self._runner.take_over(hand_over, waits=waits)
            except StorageFailed as failure:
                _log.warning("Nobody knows whose a turn is (%s); it is put off", type(failure).__name__)
                await self._runner.put_off(hand_over)
                return None
        except asyncio.CancelledError:
            # Returning would tell the host that the message has done its service.
            raise WorkerEnds from None

    async def _go_on(self, held: HeldTurn, hand_over: HandOver) -> None:
        try:
            asked = asked_in(held.hand_over or hand_over)
        except UnreadableMessage as unreadable:
            # Another version may be able to read it: as often as the host brings it, and then from the poison queue.
            turn_failed(unreadable)
            _log.error("What a turn begins with is refused (%s), error id %s", unreadable, new_error_id())
            await held.leave()
            raise
        _log.info("A turn goes on here, its try %d", held.record.tries)
        turn_resumed(asked.channel.name)
        await self._answer(held, asked, hand_over)

    async def _answer(self, held: HeldTurn, asked: Asked, hand_over: HandOver) -> None:
        conversation = hand_over.key.conversation
        outlet = self._adapter.outlet_at(asked.address)
        try:
            await self._runner.go_on(
                held,
                asked.turn(hand_over.key.activity, conversation),
                lambda progress: reply_to(outlet, asked, conversation, progress, self._image_hosts),
                time_limit=asked.channel.time_limit,
            )
        except (SendFailure, Undelivered) as failure:
            turn_failed(failure)
            _log.exception("An answer could not be delivered, error id %s", new_error_id())

    def _refused(self, unreadable: UnreadableMessage, traceparent: str | None) -> None:
        with traced(self._telemetry.activity("resume", traceparent)):
            turn_failed(unreadable)
            _log.error("A message on the queue of turns is refused (%s), error id %s", unreadable, new_error_id())
        self._telemetry.answered()
