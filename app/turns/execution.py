"""One attempt to answer a turn: the answer goes to the reply, and the turn is closed, released or left to another."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from app.agent.events import Answer, End, Failure, Suspended, without_interruption
from app.agent.turn import Turn
from app.common.caller import UNKNOWN_CALLER, Caller
from app.common.cancellation import Cancellation, CancelReason
from app.content.block_json import blocks_to_json
from app.resilience.retry import Backoff, retry
from app.storage.conversations import StoredMessage
from app.storage.ledger import TurnState
from app.storage.storage_errors import StorageError
from app.telemetry.turn_span import turn_ended
from app.turns.answerer import Answerer, CommandAnswerer
from app.turns.answering import MAX_ATTEMPTS, HistoryUnavailableError, PredecessorTimeoutError, TurnAnswering
from app.turns.checkpoint import joined_text
from app.turns.lease import TurnBackend, TurnLease
from app.turns.outcome import Closed, ContinuedElsewhere, Failed, Outcome, Release
from app.turns.predecessors import Predecessors
from app.turns.reply import CheckpointError, LeaseLostError, Reply, UndeliveredError

_log = logging.getLogger(__name__)

MAX_DELIVERY_ATTEMPTS = 6
"""Of an answer that is ready, while the channel accepts nothing."""
FINISH_GRACE_SECONDS = 4.0
_CLOSE_TIMEOUT_SECONDS = 45.0
_CLOSE_BACKOFF = Backoff(1.0, longest_seconds=8.0)
_FIRST_RELEASE_SECONDS = 15.0
_SAVE_TARGETS_SECONDS = 10.0
# Every later turn of the conversation reads them.
_MAX_STORED_BLOCKS_CHARACTERS = 20_000


class TurnExecution:
    """`time_limit` in seconds is for the whole answer, tools included, once the turns before it have ended."""

    def __init__(
        self,
        agent: Answerer,
        commands: CommandAnswerer,
        backend: TurnBackend,
        predecessors: Predecessors,
        lease: TurnLease,
        turn: Turn,
        time_limit_seconds: float,
    ) -> None:
        self._backend = backend
        self._predecessors = predecessors
        self._lease = lease
        self._turn = turn
        self._cancellation = Cancellation()
        self._answering = TurnAnswering(
            agent, commands, backend.store, predecessors, lease, turn, time_limit_seconds, self._cancellation
        )

    async def run(self, reply: Reply) -> None:
        """Raises what kept the person from seeing the end of the answer; every other failure has been told to them."""
        answering = asyncio.create_task(self._answering.answer(reply))
        delivering = asyncio.create_task(self._deliver(answering, reply))

        def cancel(task: asyncio.Task[Any], reason: CancelReason) -> None:
            self._cancellation.cancel(reason)
            task.cancel()

        reply.when_stopped(lambda: cancel(answering, CancelReason.STOPPED))
        self._lease.when_lost(lambda: cancel(delivering, CancelReason.LEASE_LOST))
        try:
            async with self._lease:
                try:
                    await asyncio.wait([delivering])
                except asyncio.CancelledError:
                    await run_uncancelled(self._hand_over(answering, delivering, reply))
                    raise
                await self._settle(delivering.result(), reply)
        finally:
            await reply.abandon()
            answering.cancel()
            delivering.cancel()
            await asyncio.wait([answering, delivering])
            self._predecessors.notify_completed(self._lease)

    async def _hand_over(self, answering: asyncio.Task[End], delivering: asyncio.Task[Outcome], reply: Reply) -> None:
        """The worker ends: another one continues, unless only the delivery is left, or no other could."""
        self._cancellation.cancel(CancelReason.HANDED_OVER)
        if answering.done() or not self._lease.can_be_resumed:
            answering.cancel()
            await asyncio.wait([delivering], timeout=FINISH_GRACE_SECONDS)
        if delivering.done():
            await self._settle(delivering.result(), reply)
        elif self._lease.can_be_resumed:
            answering.cancel()
            delivering.cancel()
            await asyncio.wait([answering, delivering])
            await self._settle(Release(), reply)

    async def _deliver(self, answering: asyncio.Task[End], reply: Reply) -> Outcome:
        attempt_count = self._lease.record.attempt_count
        try:
            end = await self._end(answering, reply)
            if isinstance(end, Suspended) and self._lease.can_be_resumed:
                answered = without_interruption(end.text)
                suspended = end
                await self._repeat(lambda: self._lease.suspend(suspended, answered, self._turn.caller))
                turn_ended("suspended")
            else:
                state = TurnState.FAILED if isinstance(end, Failure) else TurnState.ANSWERED
                await self._save_feedback_targets(end, reply.activity_id)
                await self._close(state, self._messages(end, reply.activity_id), _result(end))
            return Closed()
        except LeaseLostError:
            return ContinuedElsewhere()
        except PredecessorTimeoutError:
            return Release()
        except HistoryUnavailableError as failure:
            _log.warning("What was said before a turn cannot be read (%s); it is tried again", failure)
            return Release(_FIRST_RELEASE_SECONDS, counts_as_attempt=True)
        except CheckpointError as error:
            # Of a question that suspends the turn: the next attempt asks it, without a model.
            if not self._lease.can_be_resumed or attempt_count >= MAX_ATTEMPTS:
                return Failed(error)
            _log.warning("A turn could not be suspended in attempt %d; it is tried again", attempt_count)
            return Release(_FIRST_RELEASE_SECONDS, counts_as_attempt=True)
        except UndeliveredError as failure:
            if not self._lease.can_be_resumed or attempt_count >= MAX_DELIVERY_ATTEMPTS:
                return Failed(failure)
            _log.warning("An answer could not be delivered in attempt %d (%s); it is kept", attempt_count, failure)
            return Release(_FIRST_RELEASE_SECONDS * 2 ** (attempt_count - 1), counts_as_attempt=True)
        except asyncio.CancelledError:
            return ContinuedElsewhere() if self._lease.lost or self._lease.can_be_resumed else Failed(None)
        except Exception as error:
            return Failed(error)

    async def _save_feedback_targets(self, end: End, activity_id: str | None) -> None:
        """Before the turn is closed: a worker that vanishes now leaves it to the next."""
        if not isinstance(end, Answer) or not end.feedback_targets or not activity_id:
            return
        if self._backend.feedback_targets is None:
            return
        targets = self._backend.feedback_targets()
        try:
            async with asyncio.timeout(_SAVE_TARGETS_SECONDS):
                await targets.save(self._turn.conversation, activity_id, end.feedback_targets)
        except (StorageError, TimeoutError) as failure:
            _log.warning("A rating of this answer will count here alone (%s)", type(failure).__name__)

    async def _end(self, answering: asyncio.Task[End], reply: Reply) -> End:
        end: End | None = None
        try:
            end = await answering
            await reply.finish()
        except asyncio.CancelledError:
            if not reply.stopped:
                raise
        if reply.stopped:
            end = Answer(reply.shown, truncated=True)
        assert end is not None
        if isinstance(end, Answer):
            turn_ended("stopped" if reply.stopped else "answered")
        return end

    async def _settle(self, outcome: Outcome, reply: Reply) -> None:
        if self._lease.lost:
            outcome = ContinuedElsewhere()
        match outcome:
            case Closed():
                return
            case ContinuedElsewhere():
                _log.info("A turn was claimed by another worker")
                turn_ended("handed over")
            case Release(after, counts_as_attempt):
                await reply.abandon()
                await self._lease.release(after=after, counts_as_attempt=counts_as_attempt)
                turn_ended("handed over")
            case Failed(error):
                await self._fail(error)

    async def _fail(self, error: Exception | None) -> None:
        try:
            await self._close(TurnState.FAILED, ())
        except LeaseLostError:
            # The worker that has the turn now tells the person.
            turn_ended("handed over")
            return
        if error is not None:
            raise error

    def _messages(self, end: End, activity_id: str | None) -> tuple[StoredMessage, ...]:
        by_program = isinstance(end, Answer) and not end.by_model
        text = joined_text(self._lease.checkpoint.earlier_text, without_interruption(end.text))
        if by_program or not text.strip() or not self._turn.question.strip():
            return ()
        complete = isinstance(end, Answer) and not end.truncated
        blocks = blocks_to_json(end.blocks, _MAX_STORED_BLOCKS_CHARACTERS)
        question = StoredMessage("user", self._turn.prompt, caller=_caller_json(self._turn.caller))
        answer = StoredMessage("assistant", text, complete, blocks=blocks, activity_id=activity_id or "")
        return (question, answer)

    async def _close(self, state: TurnState, messages: tuple[StoredMessage, ...], result: str = "") -> None:
        await self._repeat(lambda: self._lease.close(state, messages, result=result))

    async def _repeat(self, write: Callable[[], Awaitable[None]]) -> None:
        try:
            await retry(write, _CLOSE_BACKOFF.after(StorageError), limit_seconds=_CLOSE_TIMEOUT_SECONDS)
        except StorageError:
            # The person has their answer, and a worker that claims the turn finds that it was being sent.
            _log.exception("A turn could not be closed")


def _caller_json(caller: Caller) -> str:
    return "" if caller == UNKNOWN_CALLER else json.dumps(asdict(caller), ensure_ascii=False)


def _result(end: End) -> str:
    """What the row of a closed turn remembers. Nothing of what was said: that can be forgotten."""
    match end:
        case Answer(truncated=truncated):
            result: dict[str, Any] = {"end": "answer", "truncated": truncated}
        case Failure(error_id=error_id):
            result = {"end": "failure", "error_id": error_id}
        case Suspended():
            result = {"end": "suspended"}
    return json.dumps(result)


async def run_uncancelled(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work`, which has time limits of its own, to its end, however often the caller is cancelled."""
    task = asyncio.create_task(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    task.result()
