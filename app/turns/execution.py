"""One attempt to answer a turn: the agent's events go to the reply; Stop, time limits and hand-over are kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any

from app.agent.agent import Agent
from app.agent.commands import Commands
from app.agent.events import Answer, Failure, Status, TextAdded, without_interruption
from app.agent.history import MAX_HISTORY_MESSAGES
from app.agent.turn import Turn
from app.agent.user_messages import GIVEN_UP, INTERRUPTED, THINKING, TURN_TIMED_OUT, UNEXPECTED
from app.resilience.retry import Backoff, retry
from app.storage.conversations import ConversationLog, StoredMessage
from app.storage.ledger import TurnState
from app.storage.storage_errors import StorageError
from app.telemetry.spans import new_error_id
from app.telemetry.turn_span import turn_ended, turn_failed
from app.translation import translator_for
from app.turns.claiming import TurnClaims
from app.turns.lease import TurnLease
from app.turns.reply import LeaseLostError, Reply, UndeliveredError

_log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
# Of an answer that is ready, while the channel takes nothing.
MAX_DELIVERY_ATTEMPTS = 6
# All in seconds.
_FINISH_GRACE_SECONDS = 4.0
_LONGEST_WAIT = 200.0
_CLOSING_SECONDS = 45.0
_CLOSING_BACKOFF = Backoff(1.0, longest_seconds=8.0)
_FIRST_DELAY = 15.0


class PredecessorTimeoutError(Exception):
    """The turns before it take long, or nobody has them: it is given back, and waits on the queue, behind theirs."""


class HistoryUnavailableError(Exception):
    """Storage does not say what was said before: another try may know."""


class AttemptsExhaustedError(Exception):
    """A turn that no worker has brought to its end."""


class TurnExecution:
    """`limit` in seconds is for the whole answer, tools included, once the turns before it have ended."""

    def __init__(
        self,
        agent: Agent,
        commands: Commands,
        log: ConversationLog,
        desk: TurnClaims,
        held: TurnLease,
        turn: Turn,
        limit: float,
    ) -> None:
        self._agent = agent
        self._commands = commands
        self._conversations = log
        self._desk = desk
        self._held = held
        self._turn = turn
        self._translate = translator_for(turn.locale)
        self._limit = limit
        self._progress = held.progress

    async def run(self, reply: Reply) -> None:
        """Raises what kept the person from seeing the end of the answer; every other failure has been told to them."""
        asking = asyncio.create_task(self._say(reply))
        answering = asyncio.create_task(self._answer(asking, reply))
        reply.when_stopped(asking.cancel)
        self._held.when_lease_lost(answering.cancel)
        try:
            async with self._held:
                try:
                    await asyncio.wait([answering])
                except asyncio.CancelledError:
                    await run_uncancelled(self._stop(asking, answering, reply))
                    raise
                await self._after(answering, reply)
        finally:
            await reply.abandon()
            asking.cancel()
            answering.cancel()
            await asyncio.wait([asking, answering])
            self._desk.ended(self._held)

    async def _stop(self, asking: asyncio.Task[Answer | Failure], answering: asyncio.Task[None], reply: Reply) -> None:
        """The worker ends: another goes on, unless only the last words are missing or nobody else could say them."""
        if not self._held.can_be_resumed:
            asking.cancel()
        if asking.done() or not self._held.can_be_resumed:
            await asyncio.wait([answering], timeout=_FINISH_GRACE_SECONDS)
        if answering.done():
            await self._after(answering, reply)
        elif self._held.can_be_resumed:
            answering.cancel()
            asking.cancel()
            await asyncio.wait([asking, answering])
            await reply.abandon()
            await self._held.release()
            turn_ended("handed over")

    async def _after(self, answering: asyncio.Task[None], reply: Reply) -> None:
        if self._held.lost or (not answering.cancelled() and isinstance(answering.exception(), LeaseLostError)):
            _log.info("A turn went on in another worker")
            turn_ended("handed over")
            return
        failure = None if answering.cancelled() else answering.exception()
        attempt_count = self._held.record.attempt_count
        if (
            isinstance(failure, UndeliveredError)
            and self._held.can_be_resumed
            and attempt_count < MAX_DELIVERY_ATTEMPTS
        ):
            await reply.abandon()
            _log.warning(
                "An answer could not be delivered at try %d (%s); it is kept for later", attempt_count, failure
            )
            await self._held.release(after=_FIRST_DELAY * 2 ** (attempt_count - 1), counts=True)
            turn_ended("handed over")
            return
        if isinstance(failure, PredecessorTimeoutError):
            await reply.abandon()
            await self._held.release()
            turn_ended("handed over")
        elif isinstance(failure, HistoryUnavailableError):
            await reply.abandon()
            _log.warning("What was said before a turn is not known at try %d (%s)", attempt_count, failure)
            await self._held.release(after=_FIRST_DELAY, counts=True)
            turn_ended("handed over")
        elif failure is not None or (answering.cancelled() and not self._held.can_be_resumed):
            await self._fail(failure)

    async def _fail(self, failure: BaseException | None) -> None:
        try:
            await self._close(TurnState.FAILED, ())
        except LeaseLostError:
            # Whoever has it now says what there is to say.
            turn_ended("handed over")
            return
        if failure is not None:
            raise failure

    async def _say(self, reply: Reply) -> Answer | Failure:
        has_predecessor = self._held.has_predecessor and self._progress.end is None
        if has_predecessor:
            await reply.begin(self._held.keep)
            await self._wait_in_line()
        end = self._progress.end or await self._command() or self._given_up()
        if not has_predecessor:
            await reply.begin(self._held.keep)
        if end is None:
            await reply.write(Status(self._translate(THINKING)))
            # The first sign of life goes out before the work begins, however quick that is.
            await asyncio.sleep(0)
            end = await self._ask(reply)
        # Before anything else runs: an update with the last words alone would hold up the end.
        await reply.write(end)
        return end

    async def _wait_in_line(self) -> None:
        self._held.history = None
        try:
            async with asyncio.timeout(_LONGEST_WAIT if self._held.can_be_resumed else None):
                await self._line_ended()
        except TimeoutError:
            raise PredecessorTimeoutError from None

    async def _line_ended(self) -> None:
        while (lost := await self._desk.wait_for_predecessors(self._held)) is not None:
            if self._held.can_be_resumed:
                raise PredecessorTimeoutError
            await self._desk.skip(self._held, lost)

    async def _answer(self, asking: asyncio.Task[Answer | Failure], reply: Reply) -> None:
        end: Answer | Failure | None = None
        try:
            end = await asking
            await reply.finish()
        except asyncio.CancelledError:
            if not reply.stopped:
                raise
        if reply.stopped:
            end = Answer(reply.shown, truncated=True)
        assert end is not None
        if isinstance(end, Answer):
            turn_ended("stopped" if reply.stopped else "answered")
        state = TurnState.ANSWERED if isinstance(end, Answer) else TurnState.FAILED
        await self._close(state, self._messages(end))

    async def _command(self) -> Answer | Failure | None:
        try:
            text = await self._commands.answer(self._turn)
        except Exception as error:
            return _failure(self._translate(UNEXPECTED), error)
        return None if text is None else Answer(text, by_model=False)

    def _given_up(self) -> Failure | None:
        if self._held.record.attempt_count <= MAX_ATTEMPTS:
            return None
        reason = AttemptsExhaustedError(f"no worker ended it in {MAX_ATTEMPTS} tries")
        return _failure(self._translate(GIVEN_UP), reason, self._progress.text, self._shown_by_model)

    @property
    def _shown_by_model(self) -> bool:
        """Whether an earlier attempt has shown words of the model's, and not only a note of ours."""
        return bool(without_interruption(self._progress.text).strip())

    async def _ask(self, reply: Reply) -> Answer | Failure:
        said, by_model = [self._progress.text], self._shown_by_model
        # Who has only waited in line has been shown nothing that could have been interrupted.
        interrupted = self._held.record.attempt_count > 1 or bool(self._progress.text)
        try:
            async with asyncio.timeout(self._limit):
                history = self._held.history
                if history is None:
                    history = await self._history()
                answer = self._agent.answer(self._turn, history, said=said[0] if interrupted else None)
                async with aclosing(answer) as events:
                    async for event in events:
                        if isinstance(event, Answer | Failure):
                            return event
                        if isinstance(event, TextAdded):
                            said.append(event.text)
                            by_model |= event.by_model
                        await reply.write(event)
        except asyncio.CancelledError as error:
            if reply.stopped or self._held.can_be_resumed:
                raise
            # The worker ends: nobody is left with a reply that stays open.
            return _failure(self._translate(INTERRUPTED), error, "".join(said), by_model)
        except HistoryUnavailableError as error:
            if self._held.can_be_resumed and self._held.record.attempt_count < MAX_ATTEMPTS:
                raise
            return _failure(self._translate(UNEXPECTED), error, "".join(said), by_model)
        except TimeoutError as error:
            return _failure(self._translate(TURN_TIMED_OUT), error, "".join(said), by_model)
        except Exception as error:
            return _failure(self._translate(UNEXPECTED), error, "".join(said), by_model)
        raise AssertionError("the agent ended a turn without an Answer or a Failure")

    async def _history(self) -> Sequence[StoredMessage]:
        try:
            return await self._conversations.recent(self._turn.conversation, MAX_HISTORY_MESSAGES)
        except StorageError as failure:
            raise HistoryUnavailableError(type(failure).__name__) from failure

    def _messages(self, end: Answer | Failure) -> tuple[StoredMessage, ...]:
        ours = isinstance(end, Answer) and not end.by_model
        text = without_interruption(end.text)
        if ours or not text.strip() or not self._turn.question.strip():
            return ()
        complete = isinstance(end, Answer) and not end.truncated
        return (StoredMessage("user", self._turn.prompt), StoredMessage("assistant", text, complete))

    async def _close(self, state: TurnState, messages: tuple[StoredMessage, ...]) -> None:
        try:
            await retry(
                lambda: self._held.close(state, messages),
                _CLOSING_BACKOFF.after(StorageError),
                limit_seconds=_CLOSING_SECONDS,
            )
        except StorageError:
            # The person has their answer. A worker that takes the turn over finds that it was being said.
            _log.exception("A turn could not be closed")


async def run_uncancelled(work: Coroutine[Any, Any, None]) -> None:
    """To the end of `work`, which has time limits of its own, however often it is cancelled from outside."""
    task = asyncio.create_task(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    task.result()


def _failure(sentence: str, error: BaseException, text: str = "", by_model: bool = True) -> Failure:
    turn_failed(error)
    error_id = new_error_id()
    _log.error("Turn failed, error id %s", error_id, exc_info=error)
    return Failure(sentence, error_id, text, by_model)
