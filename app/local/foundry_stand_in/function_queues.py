"""The service's part on the queues of an Azure Functions tool: it writes a question, and waits for its answer."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Literal

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from app.local.foundry_stand_in.refusals import FailedToolCallError, Json

Shape = Literal["nested", "text", "flat"]
Encoding = Literal["base64", "plain"]
ALL_FORMS: tuple[tuple[Shape, Encoding], ...] = (
    ("nested", "base64"),
    ("text", "plain"),
    ("flat", "base64"),
    ("nested", "plain"),
    ("text", "base64"),
    ("flat", "plain"),
)

_POLL_SECONDS = 0.1
_HIDDEN_SECONDS = 30
_MAX_RECEIVED = 32

log = logging.getLogger(__name__)

caller_traceparent: ContextVar[str] = ContextVar("traceparent of the request that is served", default="")
"""Written into the messages of its run. Whether the service does so has not been seen."""


class FunctionQueues:
    """Of one storage account, the only one that the project's identity may use.

    `forms` are those of the messages in turn. In "nested" the arguments are an object in `function_args`, in "text"
    that object is written as a string, in "flat" they are beside `CorrelationId`.

    `values` are those that came, by correlation id, also when nobody waits for them any more; `malformed` could not be
    read; `asked` are the messages as they were written.
    """

    def __init__(self, connection_string: str | None) -> None:
        self._service = QueueServiceClient.from_connection_string(connection_string) if connection_string else None
        self.forms: tuple[tuple[Shape, Encoding], ...] = (("nested", "base64"),)
        self.asked: dict[str, str] = {}
        self.values: dict[str, list[str]] = {}
        self.malformed: list[str] = []
        self._turn = 0
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}

    @property
    def endpoint(self) -> str:
        """Empty without an account."""
        return self._service.url.rstrip("/") if self._service else ""

    async def call(self, tool: Mapping[str, Any], correlation_id: str, arguments: Json) -> str:
        """What the function answers; waits until then. Raises `FailedToolCallError`.

        `tool` is the definition of an Azure Functions tool.
        """
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[correlation_id] = answer
        try:
            await self._ask(self._queue(tool, "input_binding"), correlation_id, arguments)
            output = self._queue(tool, "output_binding")
            if output.queue_name not in self._readers:
                self._readers[output.queue_name] = asyncio.create_task(self._read(output))
            return await answer
        finally:
            del self._waiting[correlation_id]

    def _queue(self, tool: Mapping[str, Any], binding: str) -> QueueClient:
        queue = tool["azure_function"][binding]["storage_queue"]
        if not self._service or queue["queue_service_endpoint"].rstrip("/") != self.endpoint:
            raise FailedToolCallError(
                f"This request is not authorized to perform this operation: {queue['queue_service_endpoint']}"
            )
        return self._service.get_queue_client(queue["queue_name"])

    async def _ask(self, queue: QueueClient, correlation_id: str, arguments: Json) -> None:
        shape, encoding = self.forms[self._turn % len(self.forms)]
        self._turn += 1
        content = written_message(correlation_id, arguments, shape, encoding, caller_traceparent.get())
        self.asked[correlation_id] = content
        try:
            await queue.send_message(content)
        except AzureError as error:
            raise FailedToolCallError(f"The message could not be put on {queue.queue_name}: {error}") from error

    async def _read(self, queue: QueueClient) -> None:
        """Until the stand-in ends. A missing queue is waited for: the function makes it with its first answer."""
        while True:
            try:
                await self._read_once(queue)
            except AzureError as error:
                if not isinstance(error, ResourceNotFoundError):
                    log.warning("%s cannot be read", queue.queue_name, exc_info=error)
            await asyncio.sleep(_POLL_SECONDS)

    async def _read_once(self, queue: QueueClient) -> None:
        messages = queue.receive_messages(messages_per_page=_MAX_RECEIVED, visibility_timeout=_HIDDEN_SECONDS)
        async for message in messages:
            found = read_answer(message.content)
            if found is None:
                self.malformed.append(message.content)
            else:
                correlation_id, value = found
                self.values.setdefault(correlation_id, []).append(value)
                waiting = self._waiting.get(correlation_id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(value)
            with suppress(HttpResponseError):
                await queue.delete_message(message)

    async def close(self) -> None:
        for reader in self._readers.values():
            reader.cancel()
        await asyncio.gather(*self._readers.values(), return_exceptions=True)
        if self._service:
            await self._service.close()


def written_message(
    correlation_id: str, arguments: Json, shape: Shape, encoding: Encoding, traceparent: str = ""
) -> str:
    """As Foundry writes it, by what has been seen of it."""
    body: Json = {"CorrelationId": correlation_id}
    if shape == "flat":
        body = {**arguments, **body}
    else:
        body = {"function_args": arguments if shape == "nested" else json.dumps(arguments), **body}
    if traceparent:
        body["traceparent"] = traceparent
    text = json.dumps(body)
    return text if encoding == "plain" else base64.b64encode(text.encode()).decode()


def read_answer(content: str) -> tuple[str, str] | None:
    """The correlation id and the value; None where the service could not read it."""
    try:
        body = json.loads(base64.b64decode(content, validate=True))
        correlation_id, value = body["CorrelationId"], body["Value"]
    except (binascii.Error, ValueError, LookupError, TypeError):
        return None
    return str(correlation_id), value if isinstance(value, str) else json.dumps(value)
