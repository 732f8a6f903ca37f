"""Workers that answer requests of Foundry's agents, on one SQLite file, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from app.foundry.requests.tool_request import ToolRequest
from app.foundry.requests.tool_requests import REQUEST_QUEUE, RequestStorage, ToolRequests
from app.foundry.tools.foundry_tool import PreparedCall, RefusedCallError
from app.settings.turn_settings import TurnSettings
from app.storage.sqlite.sqlite_store import SqliteStore
from app.telemetry.destination import Destination
from app.telemetry.span_records import FinishedSpan, Measurement
from app.telemetry.telemetry import Telemetry
from app.turns.lease import TurnBackend
from tests.fakes.chat import Behind, Wire, ends_with
from tests.fakes.virtual_time import VirtualTimeLoop

# Of an app whose settings do not say otherwise.
LEASE_SECONDS = float(TurnSettings.model_validate({}).lease_seconds)
NO_QUESTION = "There is no question."

Answer = Callable[[Mapping[str, Any]], Awaitable[str]]


@dataclass
class Calls:
    """What all workers' tools were asked, and when each call began and ended."""

    made: list[str] = field(default_factory=list)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    running: int = 0
    most: int = 0


class AskTool:
    """Answers `query` after `seconds`: each call in other words, as a model does. Without one it refuses."""

    name = "ask"
    queue_name = "ask"
    description = "Answers."
    parameters: Mapping[str, Any] = {}

    def __init__(self, calls: Calls, seconds: float = 4.0, answer: Answer | None = None) -> None:
        self._calls = calls
        self._seconds = seconds
        self._answer = answer

    def prepare(self, arguments: Mapping[str, Any]) -> PreparedCall:
        if not arguments.get("query"):
            raise RefusedCallError(NO_QUESTION)
        return lambda _: self._call(arguments)

    async def _call(self, arguments: Mapping[str, Any]) -> str:
        calls, query, began = self._calls, str(arguments["query"]), now()
        calls.made.append(query)
        calls.running += 1
        calls.most = max(calls.most, calls.running)
        try:
            await asyncio.sleep(self._seconds)
            if self._answer is not None:
                return await self._answer(arguments)
            return f"{query}: answer {len(calls.made)}"
        finally:
            calls.running -= 1
            calls.spans[query] = (began, now())


class RecordedTelemetry(Telemetry):
    """Keeps what was measured, and exports nothing."""

    def __init__(self) -> None:
        super().__init__(Destination(service="test", version="0", instance="test"))
        self.measurements: list[Measurement] = []
        self._recorder.attach(self)

    def span(self, span: FinishedSpan) -> None: ...

    def measured(self, measurement: Measurement) -> None:
        self.measurements.append(measurement)

    def answered(self) -> None: ...

    def counted(self, name: str, **attributes: str) -> float:
        return sum(
            each.value
            for each in self.measurements
            if each.instrument.name == name and attributes.items() <= dict(each.attributes).items()
        )


@dataclass
class RequestHarness:
    store: SqliteStore
    calls: Calls = field(default_factory=Calls)
    telemetry: RecordedTelemetry = field(default_factory=RecordedTelemetry)

    def worker(self, seconds: float = 4.0, answer: Answer | None = None, *, max_concurrent: int = 4) -> RequestWorker:
        return RequestWorker(self, AskTool(self.calls, seconds, answer), max_concurrent)

    async def answers(self) -> list[tuple[str, str]]:
        """All on the output queue so far, in any order: correlation ids and values."""
        found = []
        queue = self.store.queue("azure-function-ask-output")
        while received := await queue.receive(32, visibility_timeout=3600):
            for message in received:
                body = json.loads(message.body)
                found.append((body["CorrelationId"], body["Value"]))
                await queue.delete(message.receipt)
        return found

    async def later(self, worker: RequestWorker, seconds: float = 400.0) -> None:
        """What comes on the queue until then is taken by the worker, and all of it is answered."""
        queue, running = self.store.queue(REQUEST_QUEUE), []
        until = now() + seconds
        while now() < until:
            for received in await queue.receive(16, visibility_timeout=600):
                running.append(asyncio.create_task(worker.requests.process_message(received.body.encode())))
                await queue.delete(received.receipt)
            await asyncio.sleep(1)
        await asyncio.gather(*running)
        assert await queue.receive(16, visibility_timeout=1) == [], "messages are left on the queue"


class RequestWorker:
    """`cut` is its SIGKILL: none of its calls of storage is carried out from then on."""

    def __init__(self, harness: RequestHarness, tool: AskTool, max_concurrent: int) -> None:
        self.wire = Wire()
        store, queue = (Behind(each, self.wire) for each in (harness.store, harness.store.queue(REQUEST_QUEUE)))
        artifacts, documents = (
            Behind(each, self.wire) for each in (harness.store.artifacts(), harness.store.documents())
        )
        backend = TurnBackend(cast(Any, store), cast(Any, queue), cast(Any, artifacts), LEASE_SECONDS, now)
        output = Behind(harness.store.queue("azure-function-ask-output"), self.wire)
        self.requests = ToolRequests(
            [tool],
            RequestStorage(backend, cast(Any, documents), lambda _: cast(Any, output)),
            harness.telemetry,
            max_concurrent=max_concurrent,
            time_limit_seconds=300,
        )

    @asynccontextmanager
    async def killed(self, request: ToolRequest, after: float) -> AsyncIterator[None]:
        """In the middle of the request, so many seconds after it came."""
        answering = asyncio.create_task(self.requests.answer(request))
        await asyncio.sleep(after)
        self.wire.cut()
        async with ends_with(answering):
            yield


def now() -> float:
    return asyncio.get_running_loop().time()


def request_of(
    number: int = 1, *, query: str = "", conversation: str = "", inserted_at: float | None = None
) -> ToolRequest:
    arguments = {"query": query or f"question {number}"}
    at = now() if inserted_at is None else inserted_at
    return ToolRequest("ask", f"call_{number}", arguments, at, conversation)


def in_virtual_time(script: Callable[[RequestHarness], Awaitable[None]]) -> Callable[[Path], None]:
    async def play(folder: Path) -> None:
        async with asyncio.timeout(1_000_000):
            harness = RequestHarness(SqliteStore(folder / "agent.sqlite", clock=asyncio.get_running_loop().time))
            await script(harness)
            await harness.store.close()

    def run(tmp_path: Path) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
            virtual.run(play(tmp_path))

    run.__name__ = script.__name__
    return run
