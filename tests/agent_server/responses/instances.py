"""Instances of the agent server that share a store, each behind a wire of its own, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

from agent_server.handlers.handler import Handler, JsonObject
from agent_server.handlers.request_context import RequestContext
from agent_server.identity.person_tokens import PersonTokens
from agent_server.identity.server_caller import ServerCaller
from agent_server.protocol.responses_request import parse_responses_request
from agent_server.protocol.task import Task
from agent_server.responses.conversation_records import ConversationRecords
from agent_server.responses.event_log import EventLog
from agent_server.responses.response_records import ResponseRecords
from agent_server.responses.response_stores import ResponseStores
from agent_server.responses.response_turns import ResponseTurns
from agent_server.responses.responses_service import ResponsesService
from agent_server.responses.stored_response import StoredResponse
from agent_server.tracing.request_trace import NO_TRACING, RequestTracer
from app.files.uploads import Uploads
from app.storage.sqlite.sqlite_store import SqliteStore
from app.turns.lease import TurnBackend
from tests.fakes.chat import Behind, Wire
from tests.fakes.virtual_time import VirtualTimeLoop

ANN = ServerCaller("ann", "Ann")
BEN = ServerCaller("ben", "Ben")
LEASE_SECONDS = 30.0
ANSWER = "First the plan is made, then the work is done, and then all of it is looked at once more."


class Speaker:
    """A handler that says `ANSWER`, in `seconds`, and keeps what it was asked."""

    def __init__(self, seconds: float = 4.0, answer: str = ANSWER) -> None:
        self.seconds = seconds
        self.answer = answer
        self.requests: list[JsonObject] = []
        self.ended = 0

    async def invoke(self, request: JsonObject) -> JsonObject:
        raise AssertionError("stored responses are streamed")

    async def stream(self, request: JsonObject) -> AsyncGenerator[JsonObject, None]:
        self.requests.append(request)
        words = self.answer.split(" ")
        try:
            for number, word in enumerate(words):
                await asyncio.sleep(self.seconds / len(words))
                delta = word if number == 0 else f" {word}"
                yield {"type": "response.output_text.delta", "item_id": "msg", "delta": delta}
        finally:
            self.ended += 1


class Instance:
    """`wire` cut, it is dead for all others, and cannot learn of them."""

    def __init__(
        self, store: SqliteStore, handler: Handler, *, agent: Handler | None = None, tracer: RequestTracer = NO_TRACING
    ) -> None:
        clock = asyncio.get_running_loop().time
        self.wire = Wire()
        self.tokens = PersonTokens(clock=clock)
        self.handler = handler
        conversations = cast(Any, Behind(store, self.wire))
        documents = cast(Any, Behind(store.documents(), self.wire))
        artifacts = cast(Any, Behind(store.artifacts(), self.wire))
        queue = cast(Any, Behind(store.queue("responses"), self.wire))
        self.stores = ResponseStores(
            conversations,
            ResponseRecords(documents, artifacts, retention_days=30),
            ConversationRecords(documents, retention_days=30, clock=clock),
            EventLog(documents, artifacts, retention_days=30),
        )
        backend = TurnBackend(conversations, queue, artifacts, LEASE_SECONDS, clock)
        self.turns = ResponseTurns(
            handler,
            Task.RESPONSES,
            self.stores,
            backend,
            self.tokens,
            time_limit_seconds=120,
            agent=agent,
            clock=clock,
            tracer=tracer,
        )
        self.service = ResponsesService(
            self.stores,
            self.turns,
            queue,
            self.turns.handle,
            Uploads(artifacts),
            forget=conversations.forget,
            max_concurrent=50,
            clock=clock,
        )
        self.service.start()

    async def ask(
        self, question: Any = "How?", caller: ServerCaller = ANN, *, key: str = "", **body: Any
    ) -> StoredResponse:
        """`key` is that of idempotency."""
        request = parse_responses_request({"input": question, "background": True, **body})
        headers = {"idempotency-key": key} if key else {}
        return await self.service.create(request, RequestContext("request", caller, headers))

    async def answered(self, question: Any = "How?", caller: ServerCaller = ANN, **body: Any) -> JsonObject:
        return await (await self.ask(question, caller, **body)).finished()

    async def events(self, id: str, starting_after: int | None = None) -> list[JsonObject]:
        async with aclosing(await self.service.follow(id, ANN, starting_after=starting_after)) as following:
            return [event async for events in following for event in events]

    async def vanish(self) -> None:
        """Its process is gone: nothing it does reaches anybody any more."""
        self.wire.cut()


def text_of(response: JsonObject) -> str:
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])


def streamed_text(events: list[JsonObject]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


Script = Callable[[SqliteStore], Awaitable[None]]


def in_virtual_time(script: Script) -> Callable[[Path], None]:
    """A test that is given the store."""

    async def run(folder: Path) -> None:
        clock = asyncio.get_running_loop().time
        store = SqliteStore(folder / "agent.sqlite", clock=clock)
        before = asyncio.all_tasks()
        async with asyncio.timeout(100_000):
            await script(store)
        # Instances that are cut never end by themselves.
        for task in asyncio.all_tasks() - before:
            task.cancel()
        await store.close()

    def test(tmp_path: Path) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
            virtual.run(run(tmp_path))

    test.__name__ = script.__name__
    test.__doc__ = script.__doc__
    return test
