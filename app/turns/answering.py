"""The end of a turn: the one an earlier attempt has saved, a command's answer, or what the agent says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing

from app.agent.events import End, Failure, Status, TextAdded, without_interruption
from app.agent.history import MAX_HISTORY_MESSAGES
from app.agent.turn import Turn
from app.agent.user_messages import GIVEN_UP, INTERRUPTED, THINKING, TURN_TIMED_OUT, UNEXPECTED
from app.common.cancellation import Cancellation, CancelReason, time_limit_seconds
from app.storage.conversations import ConversationHistory, StoredMessage
from app.storage.storage_errors import StorageError
from app.telemetry.spans import new_error_id
from app.telemetry.turn_span import turn_failed
from app.translation import Sentence, translator_for
from app.turns.answerer import Answerer, CommandAnswerer
from app.turns.lease import TurnLease
from app.turns.predecessors import Predecessors
from app.turns.reply import LeaseLostError, Reply
from app.turns.turn_journal import TurnJournal

_log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
_MAX_WAIT_SECONDS = 200.0


class PredecessorTimeoutError(Exception):
    """The turns before this one take long, or their workers are gone: it goes on waiting on the queue."""


class HistoryUnavailableError(Exception):
    """Storage does not say what was said or recorded before: another attempt may know."""


class AttemptsExhaustedError(Exception):
    """No worker has brought the turn to its end."""


class TurnAnswering:
    """`time_limit` in seconds is for the whole answer, tools included, once the turns before it have ended."""

    def __init__(
        self,
        agent: Answerer,
        commands: CommandAnswerer,
        log: ConversationHistory,
        predecessors: Predecessors,
        lease: TurnLease,
        turn: Turn,
        time_limit_seconds: float,
        cancellation: Cancellation,
    ) -> None:
        self._agent = agent
        self._commands = commands
        self._log = log
        self._predecessors = predecessors
        self._lease = lease
        self._turn = turn
        self._translate = translator_for(turn.locale)
        self._time_limit_seconds = time_limit_seconds
        self._cancellation = cancellation
        self._checkpoint = lease.checkpoint

    async def answer(self, reply: Reply) -> End:
        """Writes the events to `reply`, the end included. Raises `PredecessorTimeoutError`, `HistoryUnavailableError`
        and what `reply` raises.
        """
        waited = self._lease.has_predecessor and self._checkpoint.end is None
        if waited:
            await reply.begin(self._lease.save_checkpoint)
            await self._wait_for_predecessors()
        end = self._checkpoint.end or await self._command() or self._exhausted()
        if not waited:
            await reply.begin(self._lease.save_checkpoint)
        if end is None:
            await reply.write(Status(self._translate(THINKING)))
            # The first sign of life is sent before the work begins, however quick that is.
            await asyncio.sleep(0)
            end = await self._ask(reply, history=None if waited else self._lease.history)
        # Before anything else runs: an update with the last words alone would delay the end.
        await reply.write(end)
        return end

    async def _wait_for_predecessors(self) -> None:
        try:
            async with asyncio.timeout(_MAX_WAIT_SECONDS if self._lease.can_be_resumed else None):
                while (stalled := await self._predecessors.wait(self._lease)) is not None:
                    if self._lease.can_be_resumed:
                        raise PredecessorTimeoutError
                    await self._predecessors.skip(self._lease, stalled)
        except TimeoutError:
            raise PredecessorTimeoutError from None

    async def _command(self) -> End | None:
        try:
            return await self._commands.answer(self._turn)
        except Exception as error:
            return _failure(self._translate(UNEXPECTED), error)

    def _exhausted(self) -> Failure | None:
        if self._lease.record.attempt_count <= MAX_ATTEMPTS:
            return None
        reason = AttemptsExhaustedError(f"no worker ended it in {MAX_ATTEMPTS} attempts")
        return _failure(self._translate(GIVEN_UP), reason, self._checkpoint.text, self._shown_by_model)

    @property
    def _shown_by_model(self) -> bool:
        """Whether an earlier attempt has shown words of the model's, and not only a note of ours."""
        return bool(without_interruption(self._checkpoint.text).strip())

    async def _ask(self, reply: Reply, history: Sequence[StoredMessage] | None) -> End:
        shown = self._checkpoint.text
        said, by_model = [shown], self._shown_by_model
        # A turn that has only waited has shown nothing that could have been interrupted.
        interrupted = self._lease.record.attempt_count > 1 or bool(shown)

        def failure(sentence: Sentence, error: BaseException) -> Failure:
            return _failure(self._translate(sentence), error, "".join(said), by_model)

        try:
            async with time_limit_seconds(self._time_limit_seconds, self._cancellation):
                deadline = asyncio.get_running_loop().time() + self._time_limit_seconds
                if history is None:
                    history = await self._log.recent(self._turn.conversation, MAX_HISTORY_MESSAGES)
                answer = self._agent.answer(
                    self._turn,
                    history,
                    said=shown if interrupted else None,
                    journal=TurnJournal(self._lease) if self._lease.can_be_resumed else None,
                    approvals=self._checkpoint.approvals,
                    cancellation=self._cancellation,
                    deadline=deadline,
                )
                async with aclosing(answer) as events:
                    async for event in events:
                        if isinstance(event, End):
                            return event
                        if isinstance(event, TextAdded):
                            said.append(event.text)
                            by_model |= event.by_model
                        await reply.write(event)
        except asyncio.CancelledError as error:
            if self._lease.can_be_resumed or self._cancellation.reason is not CancelReason.HANDED_OVER:
                raise
            # The worker ends and no other can continue: the reply must not stay open.
            return failure(INTERRUPTED, error)
        except LeaseLostError:
            raise
        except StorageError as error:
            if self._lease.can_be_resumed and self._lease.record.attempt_count < MAX_ATTEMPTS:
                raise HistoryUnavailableError(type(error).__name__) from error
            return failure(UNEXPECTED, error)
        except TimeoutError as error:
            return failure(TURN_TIMED_OUT, error)
        except Exception as error:
            return failure(UNEXPECTED, error)
        raise AssertionError("the agent ended an attempt without its end")


def _failure(sentence: str, error: BaseException, text: str = "", by_model: bool = True) -> Failure:
    turn_failed(error)
    error_id = new_error_id()
    _log.error("Turn failed, error id %s", error_id, exc_info=error)
    return Failure(sentence, error_id, text, by_model)
