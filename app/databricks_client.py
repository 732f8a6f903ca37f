"""The model: a Databricks serving endpoint, whichever of the two OpenAI-compatible APIs it speaks."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from app.common.identity import APP_IDENTITY, RequestIdentity
from app.common.log_text import quoted
from app.databricks.serving_endpoints import ServingEndpoints
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_errors import CredentialError, WorkspaceError
from app.models import chat_completions, responses
from app.models.answer_body import AnswerBody
from app.models.answer_reader import AnswerReader
from app.models.answer_stream import AnswerStream
from app.models.endpoint_capabilities import CapabilityMemory, EndpointCapabilities
from app.models.error_replies import ErrorReply, failure_of_reply
from app.models.model import ModelEvent, ModelRequest
from app.models.model_errors import (
    AddressBlockedError,
    EndpointUnavailableError,
    EndpointUnreachableError,
    MissingCredentialError,
    ModelError,
    ModelTimeoutError,
    PermissionDeniedError,
    RateLimitedError,
    RequestRefusedError,
    SignInError,
    StreamInterruptedError,
)
from app.models.openai_streams import OpenAiStreams
from app.models.transport_errors import failure_of_exception
from app.resilience.circuit_breaker import CircuitBreaker, CircuitCall, CircuitOpenError, CircuitState
from app.resilience.retry import Backoff

Api = Literal["auto", "chat", "responses"]

RESPONSES_TASK = "agent/v1/responses"
_AGENT_TASKS = "agent/"

_MAY_SAY_WHEN = (RateLimitedError, EndpointUnavailableError)
_TRANSIENT = (*_MAY_SAY_WHEN, EndpointUnreachableError, StreamInterruptedError)
# What the endpoint answers otherwise, be it a refusal, shows that it is there.
_OUTAGES = (EndpointUnavailableError, EndpointUnreachableError, ModelTimeoutError)


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Databricks ends a request after 297 seconds itself. Silence is every wait for bytes, the first included."""

    connect_seconds: float = 5
    silence_seconds: float = 120
    overall_seconds: float = 290


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retry-After is obeyed; where it asks for more than `longest_wait_seconds` there is no further attempt."""

    attempts: int = 4
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30

    def pause_seconds(self, failure: ModelError, attempt: int, spread: float) -> float | None:
        """Before the next attempt; None for no further one. `spread`, from 0 to 1, keeps many waiters apart."""
        if not isinstance(failure, _TRANSIENT) or isinstance(failure, AddressBlockedError) or attempt >= self.attempts:
            return None
        asked_for = failure.retry_after_seconds if isinstance(failure, _MAY_SAY_WHEN) else None
        if asked_for is None:
            backoff = Backoff(self.first_wait_seconds, longest_seconds=self.longest_wait_seconds, jitter=0.25)
            return backoff.pause_seconds(attempt, spread)
        return asked_for + spread / 4 if asked_for <= self.longest_wait_seconds else None


class DatabricksModel:
    """An `app.models.model.Model`. Nothing is imported, looked up or opened before `prepare` or the first `stream`."""

    def __init__(
        self,
        name: str,
        workspace: WorkspaceClient,
        *,
        api: Api = "auto",
        max_tokens: int | None = None,
        temperature: float | None = None,
        limits: TimeLimits = TimeLimits(),
        retries: RetryPolicy = RetryPolicy(),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._name = name
        self._workspace = workspace
        self._endpoints = ServingEndpoints(workspace)
        self._api: Api = api
        # Foundation models have no traces, and refuse to be asked for one.
        self._may_have_trace = api == "responses"
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._limits = limits
        self._retries = retries
        self._sleep = sleep
        self._clock = clock
        self._spread = spread
        self._capabilities = CapabilityMemory(clock)
        self._circuit = CircuitBreaker("serving endpoint", clock=clock)
        self._last_outage: ModelError = EndpointUnavailableError("")
        self._streams = OpenAiStreams(
            workspace.url.model_base_url,
            workspace.http,
            connect_seconds=limits.connect_seconds,
            silence_seconds=limits.silence_seconds,
        )

    @property
    def name(self) -> str:
        return self._name

    @property
    def api(self) -> str:
        """The API that the endpoint speaks, as far as is known, in words for people."""
        return {"chat": "chat completions", "responses": "Responses", "auto": "chat completions, assumed"}[self._api]

    async def prepare(self) -> None:
        """Does the imports, the sign-in and the look-up of the task before the first question. Raises ModelError."""
        await asyncio.gather(self._streams.prepare(), self._find_api(), self._token(APP_IDENTITY))

    async def check_ready(self, *, time_limit_seconds: float = 5) -> bool:
        """Asks the workspace, not the model: it costs no tokens and starts no endpoint that is scaled to zero.

        False where the sign-in works and the address has no serving endpoints to ask about.
        Raises ModelError, and CircuitOpenError while requests are refused here.
        `state.ready` says whether the endpoint can be queried:
        https://learn.microsoft.com/azure/databricks/machine-learning/model-serving/manage-serving-endpoints
        """
        self._circuit.check()
        if not self._workspace.url.has_serving_endpoints:
            await self._token(APP_IDENTITY)
            return False
        try:
            endpoint = await self._endpoints.describe(self._name, time_limit_seconds=time_limit_seconds)
        except WorkspaceError as error:
            raise _model_error(error) from error
        _raise_unless_ready(endpoint)
        return True

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        deadline = self._clock() + self._limits.overall_seconds
        capabilities = self._capabilities.known
        learned: EndpointCapabilities | None = None
        refused_token = ""
        attempt = 1
        while True:
            answering = False
            body: dict[str, Any] = {}
            token = ""
            try:
                token = await self._token(request.identity)
                path, body, reader = await self._question(request, capabilities)
                async with aclosing(self._attempt(path, body, reader, token, deadline)) as events:
                    async for event in events:
                        if not answering and learned is not None:
                            self._capabilities.remember(learned)
                        answering = True
                        yield event
                return
            except ModelError as failure:
                if answering:
                    raise
                if adapted := capabilities.learned_from(failure, body):
                    capabilities = adapted
                    # A conversation that is too long says nothing about the next one.
                    learned = adapted if isinstance(failure, RequestRefusedError) else learned
                    continue
                if isinstance(failure, SignInError) and not refused_token and token:
                    refused_token = token
                    if not self._workspace.forget_token(request.identity, token):
                        raise
                elif not self._switch_api(failure):
                    pause = self._retries.pause_seconds(failure, attempt, self._spread())
                    if pause is None or self._clock() + pause >= deadline or self._circuit.state is CircuitState.OPEN:
                        raise
                    await self._sleep(pause)
            attempt += 1

    async def close(self) -> None:
        await self._streams.close()

    def _switch_api(self, failure: ModelError) -> bool:
        """The endpoint wants the other API and the settings name none: the next attempt uses it."""
        if self._api == "auto" and isinstance(failure, RequestRefusedError) and "messages" in failure.parameters:
            if "'input'" in failure.detail:
                self._api = "responses"
            return self._api == "responses"
        return False

    async def _attempt(
        self, path: str, body: dict[str, Any], reader: AnswerReader, token: str, deadline: float
    ) -> AsyncGenerator[ModelEvent, None]:
        with self._admit() as call:
            try:
                async with aclosing(self._answer(path, body, reader, token, deadline)) as events:
                    async for event in events:
                        call.succeeded()
                        yield event
            except ModelError as failure:
                if isinstance(failure, _OUTAGES) and not isinstance(failure, AddressBlockedError):
                    self._last_outage = failure
                    call.failed()
                else:
                    call.succeeded()
                raise

    def _admit(self) -> CircuitCall:
        try:
            return self._circuit.call()
        except CircuitOpenError as refused:
            # To a person, and to those who count failures, it is the outage that it was.
            raise type(self._last_outage)(f"not asked, {refused}; before: {self._last_outage}") from None

    async def _answer(
        self, path: str, body: dict[str, Any], reader: AnswerReader, token: str, deadline: float
    ) -> AsyncGenerator[ModelEvent, None]:
        answer = AnswerStream(reader)
        time_limit_seconds = deadline - self._clock()
        async with self._streams.open(path, body, token=token, time_limit_seconds=time_limit_seconds) as response:
            answer_body = AnswerBody(
                response,
                answer,
                deadline=deadline,
                clock=self._clock,
                silence_seconds=self._limits.silence_seconds,
                wait_after_end_seconds=self._capabilities.known.wait_after_end_seconds,
            )
            async with aclosing(answer_body.events()) as events:
                async for event in events:
                    yield event
            completed = answer.end()
        self._capabilities.note_end(left_open=answer_body.left_open, continued_after_end=answer.continued_after_end)
        yield completed

    async def _question(
        self, request: ModelRequest, capabilities: EndpointCapabilities
    ) -> tuple[str, dict[str, Any], AnswerReader]:
        api = responses if await self._find_api() == "responses" else chat_completions
        body = api.request_body(
            self._name,
            request,
            max_tokens=self._max_tokens,
            temperature=self._temperature,
            capabilities=capabilities,
            asks_for_trace=self._may_have_trace,
        )
        if api is responses and self._workspace.url.is_app:
            # Such an app keeps what does not say otherwise, also what a chat is told to forget.
            body["store"] = False
        offered = frozenset(tool.name for tool in request.tools) if "tools" in body else frozenset[str]()
        reader: AnswerReader = (
            responses.ResponsesReader(offered) if api is responses else chat_completions.ChatCompletionReader(offered)
        )
        return api.PATH, body, reader

    async def _find_api(self) -> Api:
        if self._api == "auto":
            try:
                task = await self._endpoints.task(self._name)
            except CredentialError as failure:
                raise MissingCredentialError(str(failure)) from failure
            if task is not None:
                self._api = "responses" if task == RESPONSES_TASK else "chat"
                self._may_have_trace = task.startswith(_AGENT_TASKS)
        return self._api

    async def _token(self, identity: RequestIdentity) -> str:
        try:
            return await self._workspace.token(identity)
        except CredentialError as failure:
            raise MissingCredentialError(str(failure)) from failure


def _raise_unless_ready(endpoint: Mapping[str, Any]) -> None:
    state = endpoint.get("state")
    ready = state.get("ready") if isinstance(state, dict) else None
    if ready != "READY":
        raise EndpointUnavailableError(f"the endpoint's state is {quoted(str(ready))}")
    if endpoint.get("permission_level") == "CAN_VIEW":
        raise PermissionDeniedError("the endpoint may be viewed, not queried: CAN_QUERY is missing")


def _model_error(error: WorkspaceError) -> ModelError:
    if isinstance(error, CredentialError):
        return MissingCredentialError(str(error))
    if error.reply is not None and error.reply.status >= 300:
        return failure_of_reply(ErrorReply(error.reply.status, error.reply.body, location=error.reply.location))
    if isinstance(error.__cause__, Exception):
        return failure_of_exception(error.__cause__, answer_began=False)
    return RequestRefusedError(str(error))
