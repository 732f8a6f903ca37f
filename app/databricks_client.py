"""The model: a Databricks serving endpoint, whichever of the two OpenAI-compatible APIs it speaks."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import aiohttp

from app.model import chat_completions, responses
from app.model.answer import AnswerReader
from app.model.answer_stream import AnswerStream
from app.model.errors import ErrorReply, failure_of_reply, quoted
from app.model.failures import (
    AddressBlocked,
    Busy,
    ModelFailure,
    NoCredential,
    NoPermission,
    RequestRefused,
    SignInFailed,
    StreamCut,
    Unreachable,
    WakingUp,
)
from app.model.openai_streams import OpenAiStreams, body_of
from app.model.transport import failure_of_exception
from app.model.types import ModelEvent, ModelRequest
from app.workspace.tokens import CredentialFailed
from app.workspace.workspace import Reply, Workspace

if TYPE_CHECKING:
    import httpx2

Api = Literal["auto", "chat", "responses"]

RESPONSES_TASK = "agent/v1/responses"
# After the finish reason only usage can follow; an endpoint that hangs there has answered all the same.
SECONDS_FOR_USAGE = 2.0
# Tokens that come together are read together: nobody sees 20 ms, and each read costs more than each token.
SECONDS_BETWEEN_READS = 0.02


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

    def wait(self, failure: ModelFailure, attempt: int, spread: float) -> float | None:
        """Before the next attempt, None to give up; `spread`, from 0 to 1, keeps many waiters apart."""
        transient = isinstance(failure, Busy | WakingUp | Unreachable | StreamCut)
        if not transient or isinstance(failure, AddressBlocked) or attempt >= self.attempts:
            return None
        asked_for = failure.retry_after if isinstance(failure, Busy | WakingUp) else None
        if asked_for is None:
            return min(self.first_wait * 2.0 ** (attempt - 1), self.longest_wait) * (0.75 + spread / 4)
        return asked_for + spread / 4 if asked_for <= self.longest_wait else None


class DatabricksModel:
    """An `app.model.types.Model`. Nothing is imported, looked up or opened before `prepare` or the first `stream`."""

    def __init__(
        self,
        name: str,
        workspace: Workspace,
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
        self._api: Api = api
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._limits = limits
        self._retries = retries
        self._sleep = sleep
        self._clock = clock
        self._spread = spread
        self._asks_for_usage = True
        self._streams = OpenAiStreams(
            workspace.address.model_base_url,
            self._token,
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
        """Pays for the imports, the token and the endpoint's task beforehand. Raises ModelFailure."""
        await asyncio.gather(self._streams.prepare(), self._spoken_api(), self._token())

    async def check_ready(self, *, within_seconds: float = 5) -> bool:
        """Asks the workspace, not the model: costs no tokens and wakes nothing that is scaled to zero.

        False where the address leads to no serving endpoint that could be asked about, and the sign-in works.
        Raises ModelFailure. `state.ready` says whether the endpoint can be queried:
        https://learn.microsoft.com/azure/databricks/machine-learning/model-serving/manage-serving-endpoints
        """
        if not self._workspace.address.has_serving_endpoints:
            await self._token()
            return False
        reply = await self._described(within_seconds)
        if reply.status == 401 and self._workspace.credential.forget():
            reply = await self._described(within_seconds)
        if reply.status != 200:
            raise failure_of_reply(ErrorReply(reply.status, reply.text, location=reply.location))
        _raise_unless_ready(reply)
        return True

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        deadline = self._clock() + self._limits.overall
        attempt = 1
        while True:
            answering = False
            try:
                async with aclosing(self._attempt(request, deadline)) as events:
                    async for event in events:
                        answering = True
                        yield event
                return
            except ModelFailure as failure:
                if answering:
                    raise
                if not self._learns_from(failure, attempt):
                    wait = self._retries.wait(failure, attempt, self._spread())
                    if wait is None or self._clock() + wait >= deadline:
                        raise
                    await self._sleep(wait)
            attempt += 1

    async def close(self) -> None:
        await self._streams.close()
        await self._workspace.close()

    def _learns_from(self, failure: ModelFailure, attempt: int) -> bool:
        """Whether another attempt differs: a new token, no `stream_options`, or the other API when none was set."""
        said = failure.detail
        if isinstance(failure, SignInFailed):
            return self._workspace.credential.forget() and attempt == 1
        if not isinstance(failure, RequestRefused):
            return False
        if self._asks_for_usage and "stream_options" in said:
            self._asks_for_usage = False
            return True
        if self._api == "auto" and "'input'" in said and "'messages'" in said:
            self._api = "responses"
            return True
        return False

    async def _attempt(self, request: ModelRequest, deadline: float) -> AsyncGenerator[ModelEvent, None]:
        path, body, reader = await self._question(request)
        async with self._streams.open(path, body, within_seconds=deadline - self._clock()) as response:
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == "application/json":
                reader.read_whole(await self._json_object(response, deadline))
                for event in reader.arrived.drain():
                    yield event
                completed = reader.end(said_done=True)
            elif kind in ("text/event-stream", ""):
                answer = AnswerStream(reader)
                async with aclosing(self._reads(response, answer, deadline)) as chunks:
                    async for chunk in chunks:
                        for event in answer.feed(chunk):
                            yield event
                        if answer.over:
                            break
                for event in answer.flush():
                    yield event
                completed = answer.end()
            else:
                raise RequestRefused(f"the endpoint answers with {quoted(kind)}: is DATABRICKS_BASE_URL right?")
        yield completed

    async def _question(self, request: ModelRequest) -> tuple[str, dict[str, Any], AnswerReader]:
        if await self._spoken_api() == "responses":
            offered = frozenset(tool.name for tool in request.tools)
            body = responses.request_body(
                self._name, request, max_tokens=self._max_tokens, temperature=self._temperature
            )
            return responses.PATH, body, responses.ResponsesReader(offered)
        body = chat_completions.request_body(
            self._name,
            request,
            max_tokens=self._max_tokens,
            temperature=self._temperature,
            ask_for_usage=self._asks_for_usage,
        )
        return chat_completions.PATH, body, chat_completions.ChatCompletionReader()

    async def _spoken_api(self) -> Api:
        if self._api == "auto":
            try:
                task = await self._workspace.endpoint_task(self._name)
            except CredentialFailed as failure:
                raise NoCredential(str(failure)) from failure
            if task is not None:
                self._api = "responses" if task == RESPONSES_TASK else "chat"
        return self._api

    async def _described(self, within_seconds: float) -> Reply:
        try:
            return await self._workspace.describe(self._name, within_seconds=within_seconds)
        except CredentialFailed as failure:
            raise NoCredential(str(failure)) from failure
        except (aiohttp.ClientError, TimeoutError) as error:
            raise failure_of_exception(error, answer_began=False) from error

    async def _token(self) -> str:
        try:
            return await self._workspace.credential.token()
        except CredentialFailed as failure:
            raise NoCredential(str(failure)) from failure

    async def _reads(
        self, response: httpx2.Response, answer: AnswerStream, deadline: float
    ) -> AsyncGenerator[bytes, None]:
        async with aclosing(body_of(response)) as chunks:
            while True:
                try:
                    chunk = await self._next_read(chunks, deadline, finished=answer.finished)
                except Exception as error:
                    if answer.finished:
                        return
                    raise failure_of_exception(error, answer_began=True) from error
                if chunk is None:
                    return
                yield chunk
                if not answer.over:
                    await asyncio.sleep(SECONDS_BETWEEN_READS)

    async def _next_read(self, chunks: AsyncGenerator[bytes, None], deadline: float, *, finished: bool) -> bytes | None:
        left = deadline - self._clock()
        if finished:
            left = min(left, SECONDS_FOR_USAGE)
        # The transport itself ends a longer silence, without a timer here for every token.
        if left > self._limits.silence:
            return await anext(chunks, None)
        async with asyncio.timeout(max(0.0, left)):
            return await anext(chunks, None)

    async def _json_object(self, response: httpx2.Response, deadline: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(deadline - self._clock()):
                body = json.loads(await response.aread())
        except Exception as error:
            raise failure_of_exception(error, answer_began=True) from error
        return body if isinstance(body, dict) else {}


def _raise_unless_ready(reply: Reply) -> None:
    endpoint = reply.json_object()
    if endpoint is None:
        raise RequestRefused("what the workspace says about the endpoint is no JSON object")
    state = endpoint.get("state")
    ready = state.get("ready") if isinstance(state, dict) else None
    if ready != "READY":
        raise WakingUp(f"the endpoint's state is {quoted(str(ready))}")
    if endpoint.get("permission_level") == "CAN_VIEW":
        raise NoPermission("the endpoint may be viewed, not queried: CAN_QUERY is missing")
