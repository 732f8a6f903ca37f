"""Runs one turn: the agent's events go to the reply, the conversation is remembered, Stop and time limits are kept."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import aclosing

from app.agent.agent import Agent
from app.agent.commands import Commands
from app.agent.events import Answer, Failure, TextAdded
from app.agent.memory import MOST_MESSAGES
from app.agent.sentences import INTERRUPTED, TURN_TIMED_OUT, UNEXPECTED
from app.agent.turn import Turn
from app.storage.conversations import ConversationLog, StoredMessage
from app.telemetry.spans import new_error_id
from app.telemetry.turn import turn_ended, turn_failed
from app.turns.order import InOrder
from app.turns.reply import Reply

_log = logging.getLogger(__name__)

# Seconds in which a turn that is interrupted may still say so.
_LAST_WORDS = 4.0


class TurnRunner:
    """`time_limit` in seconds is for the whole answer, tools included."""

    def __init__(self, agent: Agent, commands: Commands, log: ConversationLog, *, time_limit: float) -> None:
        self._agent = agent
        self._commands = commands
        self._conversations = log
        self._time_limit = time_limit
        self._in_order = InOrder()

    async def run(self, turn: Turn, reply: Reply, *, time_limit: float = math.inf) -> None:
        """Raises what kept the person from seeing the end of the answer; every other failure has been told to them.

        `time_limit` in seconds is what the door allows, where that is less than the runner's own.
        """
        async with self._in_order.of(turn.conversation):
            command = await self._command(turn)
            await reply.begin()
            limit = min(time_limit, self._time_limit)
            asking = asyncio.create_task(self._say(command, turn, reply, limit))
            reply.when_stopped(asking.cancel)
            answering = asyncio.create_task(self._answer(turn, asking, reply, remember=command is None))
            try:
                await asyncio.shield(answering)
            except asyncio.CancelledError:
                asking.cancel()
                await asyncio.wait([answering], timeout=_LAST_WORDS)
                raise
            finally:
                await reply.abandon()
                answering.cancel()
                await asyncio.wait([answering])

    async def _say(self, command: Answer | Failure | None, turn: Turn, reply: Reply, limit: float) -> Answer | Failure:
        end = command or await self._ask(turn, reply, limit)
        # Before anything else runs: an update with the last words alone would hold up the end.
        await reply.write(end)
        return end

    async def _answer(
        self, turn: Turn, asking: asyncio.Task[Answer | Failure], reply: Reply, *, remember: bool
    ) -> None:
        end: Answer | Failure | None = None
        try:
            end = await asking
            await reply.finish()
        except asyncio.CancelledError:
            if not reply.stopped:
                raise
        finally:
            if reply.stopped:
                end = Answer(reply.shown, truncated=True)
            if isinstance(end, Answer):
                turn_ended("stopped" if reply.stopped else "answered")
            if remember and end is not None:
                await self._remember(turn, end)

    async def _command(self, turn: Turn) -> Answer | Failure | None:
        try:
            text = await self._commands.answer(turn)
        except Exception as error:
            return _unexpected(error, "")
        return None if text is None else Answer(text, by_model=False)

    async def _ask(self, turn: Turn, reply: Reply, time_limit: float) -> Answer | Failure:
        said: list[str] = []
        try:
            async with asyncio.timeout(time_limit):
                history = await self._conversations.recent(turn.conversation, MOST_MESSAGES)
                async with aclosing(self._agent.answer(turn, history)) as events:
                    async for event in events:
                        if isinstance(event, Answer | Failure):
                            return event
                        if isinstance(event, TextAdded):
                            said.append(event.text)
                        await reply.write(event)
        except asyncio.CancelledError as error:
            if reply.stopped:
                raise
            # The worker ends: nobody is left with a reply that stays open.
            return _failure(INTERRUPTED, error, "".join(said))
        except TimeoutError as error:
            return _failure(TURN_TIMED_OUT, error, "".join(said))
        except Exception as error:
            return _unexpected(error, "".join(said))
        raise AssertionError("the agent ended a turn without an Answer or a Failure")

    async def _remember(self, turn: Turn, end: Answer | Failure) -> None:
        if not end.text or not turn.question.strip():
            return
        complete = isinstance(end, Answer) and not end.truncated
        messages = (StoredMessage("user", turn.question), StoredMessage("assistant", end.text, complete))
        try:
            await self._conversations.append(turn.conversation, messages)
        except Exception:
            # The person has their answer; only the next question is answered without knowing of it.
            _log.exception("A conversation could not be saved")


def _unexpected(error: Exception, text: str) -> Failure:
    return _failure(UNEXPECTED, error, text)


def _failure(sentence: str, error: BaseException, text: str) -> Failure:
    turn_failed(error)
    error_id = new_error_id()
    _log.error("Turn failed, error id %s", error_id, exc_info=error)
    return Failure(sentence, error_id, text)
