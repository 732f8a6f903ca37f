"""Asks the model, makes the tool calls that it asks for, and asks again, until it has answered."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from app.agent.answer_builder import AnswerBuilder
from app.agent.events import Event, TextAdded, without_interruption
from app.agent.tool_steps import ToolSteps
from app.agent.user_messages import CONTINUE_PROMPT
from app.common.identity import RequestIdentity
from app.models.model import Completed, Message, Model, ModelRequest, Source, TextDelta
from app.models.repeated_text import RepeatedText
from app.telemetry.gen_ai import ModelCall
from app.tools.registry import ToolRegistry


class AgentLoop:
    """One turn. `opening` is what the model is told first."""

    def __init__(
        self,
        model: Model,
        tools: ToolRegistry,
        steps: ToolSteps,
        answer: AnswerBuilder,
        opening: Sequence[Message],
        *,
        identity: RequestIdentity,
        step_limit: int,
        max_answer_characters: int,
    ) -> None:
        self._model = model
        self._tools = tools
        self._steps = steps
        self._answer = answer
        self._opening = tuple(opening)
        self._tail = without_interruption(steps.tail).lstrip()
        self._message_start = steps.tail_start
        self._identity = identity
        self._step_limit = step_limit
        self._max_answer_characters = max_answer_characters
        self._once = RepeatedText()

    async def run(self) -> AsyncGenerator[Event, None]:
        """Ends when the model has answered, a limit is reached, or a call waits for an approval."""
        for step in self._steps.recorded.steps:
            self._once.add(step.message)
            self._once.tool_called()
        for event in self._steps.restore():
            yield event
        if self._tail:
            self._once.keep(self._tail)
        else:
            self._message_start = self._answer.length
        if self._steps.unfinished:
            async with aclosing(self._steps.resume()) as events:
                async for event in events:
                    yield event
        for number in range(len(self._steps.recorded.steps), self._step_limit):
            if self._steps.pending_approval:
                return
            completed = Completed()
            async with aclosing(self._ask(self._request(is_last=number == self._step_limit - 1))) as asked:
                async for said in asked:
                    if isinstance(said, Completed):
                        completed = said
                    else:
                        yield said
            if not completed.tool_calls:
                return
            message = without_interruption(self._answer.text[self._message_start :]).lstrip()
            async with aclosing(self._steps.run(message, completed.tool_calls)) as events:
                async for event in events:
                    yield event
            self._tail, self._message_start = "", self._answer.length

    def _request(self, *, is_last: bool) -> ModelRequest:
        """The last one offers no tools, so that the model has to answer with what is known by then."""
        messages = [*self._opening, *self._steps.messages()]
        if self._tail:
            messages += [Message("assistant", self._tail), Message("user", CONTINUE_PROMPT)]
        tools = () if is_last else self._tools.definitions
        return ModelRequest(tuple(messages), tools, self._identity)

    async def _ask(self, request: ModelRequest) -> AsyncGenerator[Event | Completed, None]:
        """Without a `Completed` where the answer has reached its longest."""
        start = self._answer.length
        self._answer.trace_id = ""
        completed = Completed()
        with ModelCall(self._model.name) as call:
            call.asked((message.role, message.content) for message in request.messages)
            async with aclosing(self._model.stream(request)) as stream:
                async for event in stream:
                    match event:
                        case TextDelta(text):
                            call.chunk(text)
                            text = self._once.add(without_interruption(text))
                            fitting = text[: max(0, self._max_answer_characters - self._answer.length)]
                            if fitting:
                                yield self._add(fitting, start)
                            if len(fitting) < len(text):
                                self._answer.truncated = True
                                return
                        case Source():
                            yield self._answer.cite(event)
                        case Completed(tool_calls, truncated, usage):
                            completed = event
                            tokens = (usage.input_tokens, usage.output_tokens) if usage else None
                            call.completed("tool_calls" if tool_calls else "length" if truncated else "stop", tokens)
        self._answer.truncated = completed.truncated
        self._answer.trace_id = completed.trace_id
        self._answer.add_usage(completed.usage)
        if rest := self._once.tool_called():
            yield self._add(rest, start)
        yield completed

    def _add(self, text: str, start: int) -> TextAdded:
        if self._answer.length > start:
            return self._answer.add(text)
        return self._answer.begin_message(text, was_interrupted=bool(self._tail))
