"""Messages as Foundry writes them, on Azurite's queues, and workers that are killed while they answer them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path
from statistics import quantiles
from typing import Any, Final, get_args

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from app.foundry.requests.request_answerer import TOO_LATE
from app.local.foundry_stand_in.function_queues import Encoding, Shape, read_answer, written_message
from tests.fakes.azurite import Azurite
from tests.fakes.serving_endpoint import TOKEN, ServingEndpoint, Stream, chat_stream
from tests.faults.workers import Workers

# As long as Azure's host hides a message that it has taken.
LOCK_SECONDS: Final = 600
FORMS: Final = tuple(product(get_args(Shape), get_args(Encoding)))
_POLL_SECONDS: Final = 0.1
_BATCH_SIZE: Final = 8
_QUIET_SECONDS: Final = 2.0


class NumberedModel(ServingEndpoint):
    """Answers each request in other words, after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self._numbers = count(1)
        self.replies = self  # type: ignore[assignment]

    def popleft(self) -> Stream:
        """As of `replies`, of which there is always one more."""
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(self.seconds, passed.set)
        return Stream([passed, *chat_stream(f"answer {next(self._numbers)}").steps])


@dataclass
class KillRun:
    """`values` are all that came, by correlation id. Times in seconds of the run."""

    model: NumberedModel
    workers: Workers
    lease_seconds: float
    input_queue: QueueClient
    output_queue: QueueClient
    request_queue: QueueClient
    poison_queue: QueueClient
    asked_at: dict[str, float] = field(default_factory=dict)
    answered_at: dict[str, float] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)
    kills: int = 0
    _began: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        return time.monotonic() - self._began

    async def put(self, number: int) -> None:
        shape, encoding = FORMS[number % len(FORMS)]
        # What another run on the same storage has asked would be a repeat.
        id = f"call_{self.input_queue.queue_name}_{number}"
        self.asked_at[id] = self.now()
        await self.input_queue.send_message(written_message(id, {"query": f"Question {number}?"}, shape, encoding))

    async def put_all(self, number: int) -> None:
        # Whatever is made with the first request is there before the others come.
        await self.put(0)
        await self.answered(1)
        for first in range(1, number, 20):
            await asyncio.gather(*(self.put(each) for each in range(first, min(number, first + 20))))

    async def recorded(self, number: int) -> None:
        """So many requests have an envelope of ours on the queue."""
        while True:
            if (await _length(self.request_queue)) >= number:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def read(self) -> None:
        """Takes answers from the output queue, as the service does, until it is cancelled."""
        while True:
            async for message in self.output_queue.receive_messages(messages_per_page=32, visibility_timeout=30):
                found = read_answer(message.content)
                assert found is not None, f"Foundry cannot read {message.content}"
                self.values.setdefault(found[0], []).append(found[1])
                self.answered_at.setdefault(found[0], self.now())
                with suppress(HttpResponseError):
                    await self.output_queue.delete_message(message)
            await asyncio.sleep(_POLL_SECONDS)

    async def answered(self, number: int) -> None:
        while True:
            if len(self.values) >= number:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def all_answered(self) -> None:
        await self.answered(len(self.asked_at))
        # A second value would come now.
        await asyncio.sleep(self.lease_seconds + _QUIET_SECONDS)

    @property
    def seconds(self) -> float:
        return max(self.answered_at.values()) - min(self.asked_at.values())

    @property
    def repeats(self) -> int:
        return sum(len(values) - 1 for values in self.values.values())

    @property
    def too_late(self) -> int:
        return sum(values[0] == TOO_LATE for values in self.values.values())

    def figures(self) -> str:
        waits = [self.answered_at[id] - asked for id, asked in self.asked_at.items()]
        cuts = quantiles(waits, n=100, method="inclusive")
        return (
            f"{len(waits)} requests, {self.kills} SIGKILLs, model {self.model.seconds:g} s: all answered in "
            f"{self.seconds:.0f} s ({len(waits) / self.seconds:.1f} a second); waited p50 {cuts[49]:.1f} s, "
            f"p95 {cuts[94]:.1f} s, at most {max(waits):.1f} s; answers sent twice: {self.repeats}; too "
            f"late, since their worker was killed before it had recorded them: {self.too_late}"
        )

    def check(self) -> None:
        assert self.values.keys() == self.asked_at.keys(), sorted(self.asked_at.keys() ^ self.values.keys())
        torn = {id: values for id, values in self.values.items() if len(set(values)) > 1}
        assert not torn, f"different values for one id: {torn}"
        others = {value for (value, *_) in self.values.values() if not value.startswith("answer ")}
        assert others <= {TOO_LATE}, others


@asynccontextmanager
async def kill_run(
    azurite: Azurite, folder: Path, *, workers: int, model_seconds: float, lease_seconds: float = 2
) -> AsyncIterator[KillRun]:
    name = f"t{uuid.uuid4().hex[:12]}"
    async with (
        NumberedModel(model_seconds) as model,
        QueueServiceClient.from_connection_string(azurite.connection_string) as service,
    ):

        def settings(_: str) -> dict[str, str]:
            return {
                "AzureWebJobsStorage": azurite.connection_string,
                "DATABRICKS_BASE_URL": model.base_url,
                "DATABRICKS_MODEL_NAME": model.name,
                "DATABRICKS_TOKEN": TOKEN,
                "FOUNDRY_TOOLS": "ask",
                "FOUNDRY_TOOL_NAME": name,
                "FOUNDRY_CACHE_SECONDS": "0",
                "TURN_LEASE_SECONDS": str(lease_seconds),
                # Two cores carry the storage, all workers and the model: each worker takes fewer messages at a time.
                "AzureFunctionsJobHost__extensions__queues__batchSize": str(_BATCH_SIZE),
                "AzureFunctionsJobHost__extensions__queues__newBatchThreshold": str(_BATCH_SIZE // 2),
            }

        queues = [f"azure-function-{name}-{end}" for end in ("input", "output")]
        queues += ["foundry-requests", "foundry-requests-poison"]
        given, answers, own, poison = clients = [service.get_queue_client(queue) for queue in queues]
        for client in clients:
            with suppress(HttpResponseError):
                await client.create_queue()
        lock = ("--lock-seconds", str(LOCK_SECONDS))
        async with Workers(workers, folder, settings, time.monotonic, *lock) as processes:
            run = KillRun(model, processes, lease_seconds, given, answers, own, poison)
            reading = asyncio.create_task(run.read())
            try:
                yield run
            finally:
                reading.cancel()
                await asyncio.wait([reading])
        for client in (given, answers):
            with suppress(ResourceNotFoundError):
                await client.delete_queue()


async def within(seconds: float, work: Awaitable[Any], log: Callable[[], str] = lambda: "") -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s\n{log()}") from None


async def _length(queue: QueueClient) -> int:
    return (await queue.get_queue_properties()).approximate_message_count or 0
