"""The agent: a question and what was said before in, events out. Knows no channel and keeps nothing."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

from app.agent.answer_builder import AnswerBuilder
from app.agent.attached_files import READING_FILES, FileTools, files_note, may_have_files, unread_note
from app.agent.direct_call import ToolCallFailedError, make_call
from app.agent.events import Answer, End, Event, Failure, Status, Suspended, interrupted, interruption
from app.agent.history import within_budget
from app.agent.journal import JournalError, ToolJournal
from app.agent.loop import AgentLoop
from app.agent.tool_list import unavailable_note, what_was_done
from app.agent.tool_steps import PendingApproval, ToolSteps
from app.agent.turn import Turn
from app.agent.user_messages import (
    CALL_FAILED,
    INTERRUPTION_NOTE,
    NO_ANSWER,
    NO_ANSWER_WITHIN_LIMIT,
    UNEXPECTED,
    sentence_for,
)
from app.common.caller import Caller
from app.common.cancellation import Cancellation
from app.common.identity import APP_IDENTITY, RequestIdentity
from app.models.model import Message, Model
from app.models.model_errors import ModelError
from app.storage.conversations import ConversationKey, StoredMessage
from app.telemetry.spans import new_error_id
from app.telemetry.turn_span import turn_failed
from app.tools.attached_files import ConversationFiles
from app.tools.base import ToolContext
from app.tools.registry import ToolProvider, ToolRegistry
from app.translation import Translator, translator_for

_log = logging.getLogger(__name__)

Review = Callable[[Turn, Answer | Failure], Awaitable[Answer | Failure]]


class Agent:
    """`logs_details`: whether the log quotes an endpoint's errors, which may repeat what a person asked. `review` makes
    of the end of a scheduled question what is shown of it: an empty answer shows nothing. Without `files` none
    is read.
    """

    def __init__(
        self,
        model: Model,
        tool_providers: Sequence[ToolProvider] = (),
        *,
        system_prompt: str,
        history_token_budget: int,
        max_answer_characters: int = 100_000,
        step_limit: int = 8,
        logs_details: bool = False,
        review: Review | None = None,
        files: ConversationFiles | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._model = model
        self._tool_providers = tuple(tool_providers)
        self._system_prompt = system_prompt
        self._history_token_budget = history_token_budget
        self._max_answer_characters = max_answer_characters
        self._step_limit = step_limit
        self._logs_details = logs_details
        self._review = review
        self._files = files
        self._clock = clock

    async def tools_for(self, caller: Caller, conversation: ConversationKey | None = None) -> ToolRegistry:
        """Those that the model is offered, with those of the conversation's files."""
        return (await self._registry(caller, conversation)).offered

    async def _registry(self, caller: Caller, with_files_of: ConversationKey | None) -> ToolRegistry:
        providers = list(self._tool_providers)
        if self._files is not None and with_files_of is not None:
            providers.append(FileTools(self._files, with_files_of))
        return await ToolRegistry.for_turn(providers, caller)

    async def answer(
        self,
        turn: Turn,
        history: Sequence[StoredMessage],
        *,
        said: str | None = None,
        journal: ToolJournal | None = None,
        approvals: Mapping[str, bool] | None = None,
        cancellation: Cancellation | None = None,
        deadline: float = math.inf,
        identity: RequestIdentity = APP_IDENTITY,
        instructions: str = "",
    ) -> AsyncGenerator[Event, None]:
        """Ends with one `Answer`, `Failure` or `Suspended`. Closing it, or cancelling its consumer, ends the model's
        request and the tools that run; `cancellation` tells these why. `deadline` is on the event loop's clock, and
        `identity` as whom Databricks is asked.

        `said` is the part of the answer that an interrupted attempt has shown already: no event repeats it. The calls
        that it recorded in `journal` are not made again; without a journal nothing can be suspended, and no tool used
        that needs an approval. `approvals` are the decisions on `Suspended.waiting_for`; after a suspension the answer
        continues in another message, of which `said` is then what was shown. `instructions` are the caller's, after our
        own.
        """
        translate = translator_for(turn.locale)
        answer = AnswerBuilder(said or "")
        context = ToolContext(
            turn.conversation,
            turn.caller,
            identity,
            turn.locale,
            cancellation or Cancellation(),
            idempotency_key=turn.idempotency_key,
            deadline=deadline,
            shows_chart_images=turn.shows_chart_images,
            is_scheduled=turn.is_scheduled,
        )
        try:
            notes: list[str] = []
            if self._files is not None and turn.files and not said:
                yield Status(translate(READING_FILES))
                notes += await self._files.add(turn.files, context)
            registry = await self._registry(turn.caller, turn.conversation if may_have_files(turn, history) else None)
            tools = registry.for_buttons if turn.call else registry.offered
            steps = ToolSteps(context, tools, answer, journal, approvals or {}, self._clock)
            await steps.load()
            if turn.call is not None:
                async with aclosing(make_call(turn.call, steps)) as events:
                    async for event in events:
                        yield event
                yield self._end_of_call(turn, steps, answer, translate)
                return
            if said is not None and not interrupted(said) and (steps.tail or not steps.recorded.steps):
                yield answer.add(interruption(translate(INTERRUPTION_NOTE)), by_model=False)
            if turn.is_scheduled and not said and not steps.recorded.steps:
                # It comes long after it was asked for, and among other messages.
                yield answer.add(f"> {turn.schedule}: {turn.question}\n\n", by_model=False)
            notes += filter(None, [unread_note(turn, translate, reads_files=self._files is not None)])
            if notes and not said and not steps.recorded.steps:
                yield answer.add("".join(f"> {note}\n\n" for note in notes), by_model=False)
            if turn.question.strip():
                loop = AgentLoop(
                    self._model,
                    tools,
                    steps,
                    answer,
                    self._opening(turn, history, tools, notes, instructions),
                    identity=identity,
                    step_limit=self._step_limit,
                    max_answer_characters=self._max_answer_characters,
                )
                async with aclosing(loop.run()) as events:
                    async for event in events:
                        yield event
                if steps.pending_approval:
                    yield _asked(turn, steps.pending_approval, answer, translate)
                    return
                if not answer.by_model:
                    sentence = NO_ANSWER_WITHIN_LIMIT if answer.truncated else NO_ANSWER
                    yield self._failed(answer, translate(sentence), ModelError("the model ended without any text"))
                    return
                if done := what_was_done(steps.recorded, tools, translate):
                    yield answer.add_block(done)
            finished = answer.finished(target for result in steps.results for target in result.feedback_targets)
            yield await self._reviewed(turn, finished)
        except JournalError as error:
            raise error.cause from None
        except ModelError as failure:
            yield await self._reviewed(turn, self._failed(answer, sentence_for(failure, translate), failure))
        except Exception as error:
            yield await self._reviewed(turn, self._failed(answer, translate(UNEXPECTED), error))

    async def _reviewed(self, turn: Turn, end: Answer | Failure) -> Answer | Failure:
        return await self._review(turn, end) if turn.is_scheduled and self._review else end

    def _end_of_call(self, turn: Turn, steps: ToolSteps, answer: AnswerBuilder, translate: Translator) -> End:
        if steps.pending_approval:
            return _asked(turn, steps.pending_approval, answer, translate)
        result = steps.results[-1]
        if not result.succeeded:
            return self._failed(answer, result.sentence or translate(CALL_FAILED), ToolCallFailedError())
        return Answer(result.sentence, tuple(answer.citations), by_model=False, blocks=tuple(answer.blocks))

    def _opening(
        self,
        turn: Turn,
        history: Sequence[StoredMessage],
        tools: ToolRegistry,
        notes: Sequence[str],
        instructions: str,
    ) -> list[Message]:
        remembered = within_budget(history, self._history_token_budget)
        prompts = filter(None, [self._system_prompt, instructions])
        told = "\n\n".join(prompts) + unavailable_note(tools) + files_note(turn, reads_files=self._files is not None)
        prompt = "\n\n".join([turn.prompt, *(f"(The person is told: {note})" for note in notes)])
        return [Message("system", told), *remembered, Message("user", prompt)]

    def _failed(self, answer: AnswerBuilder, sentence: str, error: Exception) -> Failure:
        turn_failed(error)
        error_id = new_error_id()
        cause = type(error).__name__
        if isinstance(error, ModelError):
            cause = f"{cause}: {error}" + (f": {error.detail}" if self._logs_details and error.detail else "")
        _log.error("Turn failed, error id %s: %s", error_id, cause, exc_info=error)
        return Failure(sentence, error_id, answer.text, answer.by_model, tuple(answer.blocks), type(error).__name__)


def _asked(turn: Turn, pending: PendingApproval, answer: AnswerBuilder, translate: Translator) -> Suspended:
    from app.agent.approval import ask_for_approval  # noqa: PLC0415 - no first answer needs it

    return ask_for_approval(turn.id, pending, answer, translate)
