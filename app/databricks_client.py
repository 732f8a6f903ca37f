"""The model: a Databricks serving endpoint, whichever of the two OpenAI-compatible APIs it speaks."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
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
from app.models.endpoint_capabilities import ALL_SUPPORTED, SECONDS_LEARNED_FOR, EndpointCapabilities
from app.models.error_replies import ErrorReply, failure_of_reply
from app.models.model import ModelEvent, ModelRequest
from app.models.model_errors import (
    AddressBlockedError,
    EndpointUnavailableError,
    EndpointUnreachableError,
    MissingCredentialError,
    ModelError,
    PermissionDeniedError,
    RateLimitedError,
    RequestRefusedError,
    SignInError,
    StreamInterruptedError,
)
from app.models.openai_streams import OpenAiStreams
from app.models.transport_errors import failure_of_exception

Api = Literal["auto", "chat", "responses"]

RESPONSES_TASK = "agent/v1/responses"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds. Databricks ends a request after 297 itself; `silence` is every wait for bytes, the first included."""

    connect: float = 5
    silence: float = 120
    overall: float = 290


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds. An endpoint's Retry-After is obeyed; when it asks for more than `longest_wait` we give up."""

    attempts: int = 4
    first_wait: float = 0.5
    longest_wait: float = 30

    def wait(self, failure: ModelError, attempt: int, spread: float) -> float | None:
        """Before the next attempt, None to give up; `spread`, from 0 to 1, keeps many waiters apart."""
        transient = isinstance(
            failure, RateLimitedError | EndpointUnavailableError | EndpointUnreachableError | StreamInterruptedError
        )
        if not transient or isinstance(failure, AddressBlockedError) or attempt >= self.attempts:
            return None
        asked_for = failure.retry_after if isinstance(failure, RateLimitedError | EndpointUnavailableError) else None
        if asked_for is None:
            return min(self.first_wait * 2.0 ** (attempt - 1), self.longest_wait) * (0.75 + spread / 4)
        return asked_for + spread / 4 if asked_for <= self.longest_wait else None


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
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._limits = limits
        self._retries = retries
        self._sleep = sleep
        self._clock = clock
        self._spread = spread
        self._capabilities = ALL_SUPPORTED
        self._learned_at = math.inf
        self._streams = OpenAiStreams(
            workspace.url.model_base_url,
            workspace.http,
            connect_seconds=limits.connect,
            silence_seconds=limits.silence,
        )

    @property
    def name(self) -> str:
        return self._name

    @property
    def api(self) -> str:
        """For people: which API the endpoint speaks, as far as is known."""
        return {"chat": "chat completions", "responses": "Responses", "auto": "chat completions, assumed"}[self._api]

    async def prepare(self) -> None:
        """Pays for the imports, the token and the endpoint's task beforehand. Raises ModelError."""
        await asyncio.gather(self._streams.prepare(), self._spoken_api(), self._token(APP_IDENTITY))

    async def check_ready(self, *, within_seconds: float = 5) -> bool:
        """Asks the workspace, not the model: costs no tokens and wakes nothing that is scaled to zero.

        False where the address leads to no serving endpoint that could be asked about, and the sign-in works.
        Raises ModelError. `state.ready` says whether the endpoint can be queried:
        https://learn.microsoft.com/azure/databricks/machine-learning/model-serving/manage-serving-endpoints
        """
        if not self._workspace.url.has_serving_endpoints:
            await self._token(APP_IDENTITY)
            return False
        try:
            endpoint = await self._endpoints.describe(self._name, time_limit_seconds=within_seconds)
        except WorkspaceError as error:
            raise _model_error(error) from error
        _raise_unless_ready(endpoint)
        return True

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        deadline = self._clock() + self._limits.overall
        if self._clock() > self._learned_at + SECONDS_LEARNED_FOR:
            self._capabilities, self._learned_at = self._capabilities.without_refusals(), math.inf
        capabilities = self._capabilities
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
                            self._keep(learned)
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
                elif not self._speaks_other_api(failure):
                    wait = self._retries.wait(failure, attempt, self._spread())
                    if wait is None or self._clock() + wait >= deadline:
                        raise
                    await self._sleep(wait)
            attempt += 1

    async def close(self) -> None:
        await self._streams.close()

    def _keep(self, learned: EndpointCapabilities) -> None:
        """An answer has shown that it is so."""
        known = self._capabilities
        self._capabilities = known.and_also(learned)
        self._learned_at = min(self._learned_at, self._clock())
        for name in sorted((learned.refused | learned.call_fields) - known.refused - known.call_fields):
            _log.warning("The endpoint refuses the parameter %s: it is asked without for a while", quoted(name))

    def _speaks_other_api(self, failure: ModelError) -> bool:
        """The next attempt does, where none was set and the endpoint wants the other."""
        if self._api == "auto" and isinstance(failure, RequestRefusedError) and "messages" in failure.parameters:
            if "'input'" in failure.detail:
                self._api = "responses"
            return self._api == "responses"
        return False

    async def _attempt(
        self, path: str, body: dict[str, Any], reader: AnswerReader, token: str, deadline: float
    ) -> AsyncGenerator[ModelEvent, None]:
        answer = AnswerStream(reader)
        within_seconds = deadline - self._clock()
        async with self._streams.open(path, body, token=token, within_seconds=within_seconds) as response:
            arriving = AnswerBody(
                response,
                answer,
                deadline=deadline,
                clock=self._clock,
                silence_seconds=self._limits.silence,
                seconds_after_end=self._capabilities.seconds_after_end,
            )
            async with aclosing(arriving.events()) as events:
                async for event in events:
                    yield event
            completed = answer.end()
        self._note_end(left_open=arriving.left_open, went_on=answer.went_on)
        yield completed

    def _note_end(self, *, left_open: bool, went_on: bool) -> None:
        known = self._capabilities
        if left_open and not known.leaves_streams_open:
            _log.warning(
                "The endpoint leaves its stream open after the end of an answer: it was waited for %g s in vain",
                known.seconds_after_end,
            )
        if left_open or went_on:
            self._capabilities = replace(
                known,
                leaves_streams_open=known.leaves_streams_open or left_open,
                goes_on_after_end=known.goes_on_after_end or went_on,
            )

    async def _question(
        self, request: ModelRequest, capabilities: EndpointCapabilities
    ) -> tuple[str, dict[str, Any], AnswerReader]:
        api = responses if await self._spoken_api() == "responses" else chat_completions
        body = api.request_body(
            self._name,
            request,
            max_tokens=self._max_tokens,
            temperature=self._temperature,
            capabilities=capabilities,
        )
        offered = frozenset(tool.name for tool in request.tools) if "tools" in body else frozenset[str]()
        reader: AnswerReader = (
            responses.ResponsesReader(offered) if api is responses else chat_completions.ChatCompletionReader(offered)
        )
        return api.PATH, body, reader

    async def _spoken_api(self) -> Api:
        if self._api == "auto":
            try:
                task = await self._endpoints.task(self._name)
            except CredentialError as failure:
                raise MissingCredentialError(str(failure)) from failure
            if task is not None:
                self._api = "responses" if task == RESPONSES_TASK else "chat"
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
