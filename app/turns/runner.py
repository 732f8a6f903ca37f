"""Runs one turn: the agent's events go to the reply, the conversation is remembered, Stop and time limits are kept."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from app.agent.agent import Agent, new_error_id
from app.agent.commands import Commands
from app.agent.events import Answer, Failure, TextAdded
from app.agent.memory import MOST_MESSAGES
from app.agent.sentences import TURN_TIMED_OUT, UNEXPECTED
from app.agent.turn import Turn
from app.storage.conversations import ConversationLog, StoredMessage
from app.turns.order import InOrder
from app.turns.reply import Reply

_log = logging.getLogger(__name__)


class TurnRunner:
    """`time_limit` in seconds is for the whole answer, tools included."""

    def __init__(self, agent: Agent, commands: Commands, log: ConversationLog, *, time_limit: float) -> None:
        self._agent = agent
        self._commands = commands
        self._conversations = log
        self._time_limit = time_limit
        self._in_order = InOrder()

    async def run(self, turn: Turn, reply: Reply) -> None:
        """Raises what kept the person from seeing the end of the answer; every other failure has been told to them."""
        async with self._in_order.of(turn.conversation):
            command = await self._command(turn)
            await reply.begin()
            answering = asyncio.create_task(self._say(command, reply) if command else self._answer(turn, reply))
            reply.when_stopped(answering.cancel)
            try:
                await answering
            except asyncio.CancelledError:
                this_task = asyncio.current_task()
                if not reply.stopped or (this_task is not None and this_task.cancelling()):
                    raise
                await self._remember(turn, Answer(reply.shown), complete=False)
            finally:
                await reply.abandon()

    async def _say(self, end: Answer | Failure, reply: Reply) -> None:
        await reply.write(end)
        await reply.finish()

    async def _answer(self, turn: Turn, reply: Reply) -> None:
        end = await self._ask(turn, reply)
        try:
            await self._say(end, reply)
        finally:
            await self._remember(turn, end, complete=isinstance(end, Answer))

    async def _command(self, turn: Turn) -> Answer | Failure | None:
        try:
            text = await self._commands.answer(turn)
        except Exception as error:
            return _unexpected(error, "")
        return None if text is None else Answer(text, by_model=False)

    async def _ask(self, turn: Turn, reply: Reply) -> Answer | Failure:
        said: list[str] = []
        try:
            async with asyncio.timeout(self._time_limit):
                history = await self._conversations.recent(turn.conversation, MOST_MESSAGES)
                async with aclosing(self._agent.answer(turn, history)) as events:
                    async for event in events:
                        if isinstance(event, Answer | Failure):
                            return event
                        if isinstance(event, TextAdded):
                            said.append(event.text)
                        await reply.write(event)
        except TimeoutError as error:
            return _failure(TURN_TIMED_OUT, error, "".join(said))
        except Exception as error:
            return _unexpected(error, "".join(said))
        raise AssertionError("the agent ended a turn without an Answer or a Failure")

    async def _remember(self, turn: Turn, end: Answer | Failure, *, complete: bool) -> None:
        if not end.text or not turn.question.strip():
            return
        messages = (StoredMessage("user", turn.question), StoredMessage("assistant", end.text, complete))
        try:
            await self._conversations.append(turn.conversation, messages)
        except Exception:
            # The person has their answer; only the next question is answered without knowing of it.
            _log.exception("A conversation could not be saved")


def _unexpected(error: Exception, text: str) -> Failure:
    return _failure(UNEXPECTED, error, text)


def _failure(sentence: str, error: Exception, text: str) -> Failure:
    error_id = new_error_id()
    _log.error("Turn failed, error id %s", error_id, exc_info=error)
    return Failure(sentence, error_id, text)
