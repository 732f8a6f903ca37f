"""The agent: a question and what was said before in, events out. Knows no channel and keeps nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from app.agent.events import (
    Answer,
    Event,
    Failure,
    TextAdded,
    ToolFinished,
    ToolStarted,
    interrupted,
    interruption,
    without_interruption,
)
from app.agent.history import within_budget
from app.agent.turn import Turn
from app.agent.user_messages import (
    GO_ON,
    NO_ANSWER,
    NO_ANSWER_WITHIN_LIMIT,
    UNEXPECTED,
    WAS_INTERRUPTED,
    sentence_for,
)
from app.common.text import pending_surrogate, replace_lone_surrogates
from app.content.blocks import Citation
from app.models.model import Completed, Message, Model, ModelEvent, ModelRequest, Source, TextDelta
from app.models.model_errors import ModelError
from app.models.repeated_text import RepeatedText
from app.storage.conversations import StoredMessage
from app.telemetry.gen_ai import ModelCall
from app.telemetry.spans import new_error_id
from app.telemetry.turn_span import turn_failed
from app.tools.registry import ToolRegistry
from app.translation import Sentence, translator_for

_log = logging.getLogger(__name__)

_UNREAD = Sentence("I cannot read attachments yet, so I have not read: {names}")


class Agent:
    """`logs_details`: whether the log quotes an endpoint's errors, which may repeat what a person asked."""

    def __init__(
        self,
        model: Model,
        toolbox: ToolRegistry,
        *,
        system_prompt: str,
        history_token_budget: int,
        max_answer_characters: int = 100_000,
        step_limit: int = 8,
        logs_details: bool = False,
    ) -> None:
        self._model = model
        self._tools = toolbox
        self._system_prompt = system_prompt
        self._history_token_budget = history_token_budget
        self._max_answer_characters = max_answer_characters
        self._step_limit = step_limit
        self._logs_details = logs_details

    async def answer(
        self, turn: Turn, history: Sequence[StoredMessage], *, said: str | None = None
    ) -> AsyncGenerator[Event, None]:
        """Ends with one `Answer` or one `Failure`. Closing it, or cancelling its consumer, ends the model's request.

        `said` is the part of the answer that an interrupted attempt has shown already: no event repeats it.
        """
        work = _AnswerBuilder(turn, self._messages(turn, history, said or ""), said or "")
        try:
            if said is not None and not interrupted(said):
                yield work.add(interruption(work.translate(WAS_INTERRUPTED)), by_model=False)
            if turn.unread and not said:
                yield work.add(f"> {work.translate(_UNREAD, names=', '.join(turn.unread))}\n\n", by_model=False)
            if turn.question.strip():
                noticed = work.length
                async with aclosing(self._steps(work)) as events:
                    async for event in events:
                        yield event
                if not work.text[noticed:].strip() and not without_interruption(said or "").strip():
                    sentence = NO_ANSWER_WITHIN_LIMIT if work.truncated else NO_ANSWER
                    yield self._failed(work, work.translate(sentence), ModelError("the model ended without any text"))
                    return
            yield Answer(work.text, tuple(work.citations), by_model=work.by_model, truncated=work.truncated)
        except ModelError as failure:
            yield self._failed(work, sentence_for(failure, work.translate), failure)
        except Exception as error:
            yield self._failed(work, work.translate(UNEXPECTED), error)

    def _messages(self, turn: Turn, history: Sequence[StoredMessage], said: str) -> list[Message]:
        remembered = within_budget(history, self._history_token_budget)
        said = without_interruption(said)
        payload = [Message("assistant", said), Message("user", GO_ON)] if said.strip() else []
        return [Message("system", self._system_prompt), *remembered, Message("user", turn.prompt), *payload]

    async def _steps(self, work: _AnswerBuilder) -> AsyncGenerator[Event, None]:
        for step in range(self._step_limit):
            # The last step gets no tools, so that it has to answer with what is known by then.
            tools = self._tools.definitions if step < self._step_limit - 1 else ()
            said_before = work.length
            completed = Completed()
            async with aclosing(self._stream(ModelRequest(tuple(work.messages), tools))) as stream:
                async for event in stream:
                    match event:
                        case TextDelta(text) if text := work.once.add(without_interruption(text)):
                            fitting = text[: max(0, self._max_answer_characters - work.length)]
                            if fitting:
                                yield work.add(fitting, new_paragraph=work.length == said_before)
                            if len(fitting) < len(text):
                                work.truncated = True
                                return
                        case Source():
                            yield work.cite(event)
                        case Completed():
                            completed = event
            work.truncated = completed.truncated
            if rest := work.once.tool_called():
                yield work.add(rest, new_paragraph=work.length == said_before)
            if not completed.tool_calls:
                return
            work.messages.append(Message("assistant", work.text[said_before:].lstrip(), completed.tool_calls))
            async with aclosing(self._use_tools(work, completed)) as events:
                async for tool_event in events:
                    yield tool_event

    async def _stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """The model's stream, recorded."""
        with ModelCall(self._model.name) as call:
            call.asked((message.role, message.content) for message in request.messages)
            async with aclosing(self._model.stream(request)) as stream:
                async for event in stream:
                    match event:
                        case TextDelta(text):
                            call.chunk(text)
                        case Completed(tool_calls, truncated, usage):
                            tokens = (usage.input_tokens, usage.output_tokens) if usage else None
                            call.completed("tool_calls" if tool_calls else "length" if truncated else "stop", tokens)
                    yield event

    async def _use_tools(self, work: _AnswerBuilder, completed: Completed) -> AsyncGenerator[Event, None]:
        for call in completed.tool_calls:
            yield ToolStarted(call.id, call.name)
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(self._tools.run(call)) for call in completed.tool_calls]
        for task in running:
            result = task.result()
            work.messages.append(result.as_message())
            yield ToolFinished(result.call.id, result.call.name, result.succeeded)

    def _failed(self, work: _AnswerBuilder, sentence: str, error: Exception) -> Failure:
        turn_failed(error)
        error_id = new_error_id()
        cause = type(error).__name__
        if isinstance(error, ModelError):
            cause = f"{cause}: {error}" + (f": {error.detail}" if self._logs_details and error.detail else "")
        _log.error("Turn failed, error id %s: %s", error_id, cause, exc_info=error)
        return Failure(sentence, error_id, work.text, work.by_model)


class _AnswerBuilder:
    """What has come together in one turn so far; `said` was shown by an earlier attempt."""

    def __init__(self, turn: Turn, messages: list[Message], said: str) -> None:
        self.translate = translator_for(turn.locale)
        self.messages = messages
        self.citations: list[Citation] = []
        self.truncated = False
        self.by_model = bool(without_interruption(said).strip())
        self.once = RepeatedText()
        self._parts = [said] if said else []
        self.length = self._goes_on_at = len(said)
        self._pending_surrogate = ""

    @property
    def text(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def add(self, text: str, *, new_paragraph: bool = False, by_model: bool = True) -> TextAdded:
        text = self._whole_characters(text)
        if new_paragraph:
            text = self._gap_before(text) + text
        self._parts.append(text)
        self.length += len(text)
        self.by_model |= by_model and bool(text.strip())
        return TextAdded(text, by_model)

    def _gap_before(self, text: str) -> str:
        before = self.text
        noted = interrupted(before)
        if not before or not text or before.endswith("\n\n") or (noted and not noted[-1]):
            return ""
        if self.length > self._goes_on_at:
            return "\n\n"
        # Here an earlier attempt was interrupted. A model that is asked to go on begins with a word.
        return "" if before[-1].isspace() or text[0].isspace() else " "

    def _whole_characters(self, text: str) -> str:
        """Endpoints cut text between the halves of a surrogate pair, and half of one can be neither stored nor sent."""
        text = self._pending_surrogate + text
        self._pending_surrogate = pending_surrogate(text)
        return replace_lone_surrogates(text.removesuffix(self._pending_surrogate))

    def cite(self, source: Source) -> Citation:
        for known in self.citations:
            if (known.title, known.url) == (source.title, source.url):
                return known
        citation = Citation(len(self.citations) + 1, source.title, source.url, source.quote)
        self.citations.append(citation)
        return citation
