"""What the decision engine asks: one question, one answer as text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

from app.models.model import AnswerSchema, Completed, Message, Model, ModelRequest, TextDelta
from app.models.model_errors import ModelError, ModelTimeoutError, RequestRefusedError, UnreadableAnswerError

MAX_ANSWER_CHARACTERS = 50_000
DEFAULT_TIME_LIMIT_SECONDS = 120.0

OpenModel = Callable[[], AbstractAsyncContextManager[Model]]


class CompletionClient(Protocol):
    @property
    def name(self) -> str:
        """The model that is asked; empty where none is configured."""
        ...

    async def complete(self, system: str, user: str, schema: AnswerSchema) -> str:
        """The whole answer. It follows the schema where the model can.

        Raises `app.models.model_errors.ModelError` where there is no answer, or only a part of one.
        """
        ...


class TruncatedAnswerError(ModelError):
    """The model reached its token limit before the answer was complete."""


class ModelCompletion:
    """A `CompletionClient` that asks a `Model`, which it opens for each question: callers that are not asynchronous
    run each question in an event loop of its own.
    """

    def __init__(
        self,
        open_model: OpenModel,
        name: str,
        *,
        time_limit_seconds: float = DEFAULT_TIME_LIMIT_SECONDS,
    ) -> None:
        self._open_model = open_model
        self._name = name
        self._time_limit_seconds = time_limit_seconds
        self._takes_schemas = True

    @property
    def name(self) -> str:
        return self._name

    async def complete(self, system: str, user: str, schema: AnswerSchema) -> str:
        messages = (Message("system", system), Message("user", user))
        try:
            async with asyncio.timeout(self._time_limit_seconds), self._open_model() as model:
                if self._takes_schemas:
                    try:
                        return await _answer(model, ModelRequest(messages, answer_schema=schema))
                    except RequestRefusedError:
                        # Each server words it in its own way that it takes no schemas: the same question is answered
                        # without one.
                        answer = await _answer(model, ModelRequest(messages))
                        self._takes_schemas = False
                        return answer
                return await _answer(model, ModelRequest(messages))
        except TimeoutError as error:
            raise ModelTimeoutError(f"no answer within {self._time_limit_seconds:g} s") from error


async def _answer(model: Model, request: ModelRequest) -> str:
    pieces: list[str] = []
    length = 0
    async with aclosing(model.stream(request)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                pieces.append(event.text)
                length += len(event.text)
                if length > MAX_ANSWER_CHARACTERS:
                    raise UnreadableAnswerError("the answer is longer than a decision can be")
            elif isinstance(event, Completed) and event.truncated:
                raise TruncatedAnswerError("the answer was cut at the token limit")
    return "".join(pieces)
