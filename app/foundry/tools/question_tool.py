"""A tool that is asked one question or several."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol

from app.agent.user_messages import UNEXPECTED
from app.common.concurrency import gather_or_cancel
from app.common.identity import APP_IDENTITY, identity_key
from app.foundry.tools.answer_markdown import Part, parts_markdown
from app.foundry.tools.call_arguments import MAX_QUERY_CHARACTERS, questions_of, text_argument
from app.foundry.tools.foundry_tool import FailedCallError, PreparedCall, RefusedCallError, ToolCallContext
from app.foundry.tools.shared_answers import SharedAnswers
from app.foundry.tools.tool_definitions import ToolDefinition
from app.telemetry.spans import new_error_id

_log = logging.getLogger(__name__)

TOOK_TOO_LONG = "The answer took longer than allowed. Please ask again, or ask for less at once."
_MAX_QUESTIONS_AT_ONCE = 3
_CLOSE_SECONDS = 3.0
"""What the answers that there are need to be sent."""


class QuestionAnswerer(Protocol):
    async def about(self, wanted: str) -> str:
        """What the questions are about, such as a name of data; "" where there is no choice. `wanted` is what the
        caller wrote, or "". Raises `RefusedCallError`.
        """
        ...

    async def answer(self, question: str, about: str, context: ToolCallContext) -> str:
        """Markdown. Raises as `PreparedCall`."""
        ...


class QuestionTool:
    """A `FoundryTool` whose parameters are `query` and `queries`, and the one that `about` names, whose value
    `answerer.about` is given. `also` are other names that a model may give its one question.
    """

    def __init__(
        self,
        definition: ToolDefinition,
        answerer: QuestionAnswerer,
        shared: SharedAnswers,
        *,
        max_characters: int = MAX_QUERY_CHARACTERS,
        about: str = "",
        also: Sequence[str] = (),
    ) -> None:
        self.name = definition.name
        self.queue_name = definition.queue_name
        self.description = definition.description
        self.parameters = definition.parameters
        self._answerer = answerer
        self._shared = shared
        self._max_characters = max_characters
        self._about = about
        self._also = also

    def prepare(self, arguments: Mapping[str, Any]) -> PreparedCall:
        questions = questions_of(arguments, max_characters=self._max_characters, also=self._also)
        wanted = text_argument(arguments, self._about) if self._about else ""
        return lambda context: self._call(questions, wanted, context)

    async def _call(self, questions: Sequence[str], wanted: str, context: ToolCallContext) -> str:
        about = await _in_time(self._answerer.about(wanted), context)
        if len(questions) == 1:
            return await self._answer(questions[0], about, context)
        slots = asyncio.Semaphore(_MAX_QUESTIONS_AT_ONCE)

        async def part(question: str) -> Part:
            try:
                async with slots:
                    return Part(question, await self._answer(question, about, context))
            except RefusedCallError as refusal:
                return Part(question, failure=str(refusal))
            except Exception:
                error_id = new_error_id()
                _log.exception("One of several questions failed, error id %s", error_id)
                return Part(question, failure=f"{UNEXPECTED.english} (error id {error_id})")

        return _together(await gather_or_cancel(map(part, questions)))

    async def _answer(self, question: str, about: str, context: ToolCallContext) -> str:
        key = (self.name, identity_key(APP_IDENTITY), about, question)
        answering = self._shared.answer(key, context, lambda shared: self._answerer.answer(question, about, shared))
        return await _in_time(answering, context)


async def _in_time(work: Coroutine[Any, Any, str], context: ToolCallContext) -> str:
    limit = asyncio.timeout_at(None if math.isinf(context.deadline) else context.deadline - _CLOSE_SECONDS)
    try:
        async with limit:
            return await work
    except TimeoutError:
        if limit.expired():
            raise FailedCallError(TOOK_TOO_LONG) from None
        raise


def _together(parts: Sequence[Part]) -> str:
    text = parts_markdown(parts)
    if all(part.failure for part in parts):
        raise FailedCallError(text)
    return text
