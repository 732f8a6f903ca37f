"""Instances that die, stall and lose the answers of their storage, in every mixture that chance brings."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent_server.handlers.handler import JsonObject
from agent_server.protocol.api_error import ApiError
from app.storage.conversations import ConversationKey
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_errors import StorageError
from tests.agent_server.responses.instances import ANN, Instance, in_virtual_time, streamed_text, text_of
from tests.fakes.chat import Behind

WORDS = 30


def answer_to(question: str) -> str:
    return " ".join(f"{question}-{number}" for number in range(WORDS))


class Answers:
    """Says for each question what `answer_to` says."""

    async def invoke(self, request: JsonObject) -> JsonObject:
        raise AssertionError("stored responses are streamed")

    async def stream(self, request: JsonObject) -> AsyncGenerator[JsonObject, None]:
        question = request["input"][-1]["content"]
        for number, word in enumerate(answer_to(question).split(" ")):
            await asyncio.sleep(0.2)
            delta = word if number == 0 else f" {word}"
            yield {"type": "response.output_text.delta", "item_id": "m", "delta": delta}


class Unreliable:
    """An engine that now and then refuses a call, or carries it out and loses the answer."""

    def __init__(self, engine: object, chance: random.Random, rate: float) -> None:
        self._engine = engine
        self._chance = chance
        self._rate = rate

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._engine, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            luck = self._chance.random()
            if luck < self._rate / 2:
                raise StorageError("refused")
            result = await method(*arguments, **named)
            if luck < self._rate:
                raise StorageError("its answer was lost")
            return result

        return call


class Play:
    def __init__(self, store: SqliteStore, seed: int) -> None:
        self.chance = random.Random(seed)
        self.store = store
        self.rate = self.chance.choice((0.0, 0.02, 0.1))
        self.instances = [self._instance() for _ in range(2)]
        self.accepted: dict[str, str] = {}
        self.cancelled: set[str] = set()

    def _instance(self) -> Instance:
        instance = Instance(self.store, Answers())
        for owner, field in (
            (instance.stores, "store"),
            (instance.stores.log, "_documents"),
            (instance.stores.records, "_documents"),
            (instance.stores.conversations, "_documents"),
        ):
            behind = getattr(owner, field)
            assert isinstance(behind, Behind)
            object.__setattr__(owner, field, Unreliable(behind, self.chance, self.rate))
        return instance

    async def run(self) -> None:
        asking = [asyncio.create_task(self._converse(number)) for number in range(3)]
        for _ in range(self.chance.randrange(1, 5)):
            await asyncio.sleep(self.chance.uniform(0.5, 12))
            await self._disturb()
        await asyncio.gather(*asking)

    async def _disturb(self) -> None:
        victim = self.chance.randrange(len(self.instances))
        match self.chance.choice(("kill", "stall", "stop")):
            case "kill":
                self.instances[victim].wire.cut()
                self.instances[victim] = self._instance()
            case "stop":
                old, self.instances[victim] = self.instances[victim], self._instance()
                await old.service.close()
            case _:
                self.instances[victim].wire.cut()
                await asyncio.sleep(self.chance.uniform(1, 60))
                self.instances[victim].wire.join()

    async def _converse(self, number: int) -> None:
        previous = ""
        for turn in range(self.chance.randrange(1, 4)):
            question = f"q{number}{turn}"
            await asyncio.sleep(self.chance.uniform(0, 5))
            more: dict[str, Any] = {"previous_response_id": previous} if previous else {}
            id = await self._ask(question, more)
            if id is None:
                return
            self.accepted[id] = question
            if self.chance.random() < 0.2:
                await asyncio.sleep(self.chance.uniform(0, 8))
                await self._cancel(id)
            elif self.chance.random() < 0.7:
                await asyncio.sleep(self.chance.uniform(0, 30))
            previous = id

    async def _ask(self, question: str, more: dict[str, Any]) -> str | None:
        for _ in range(5):
            try:
                async with asyncio.timeout(20):
                    return (await self.chance.choice(self.instances).ask(question, key=question, **more)).id
            except (ApiError, TimeoutError):
                await asyncio.sleep(1)
        return None

    async def _cancel(self, id: str) -> None:
        for _ in range(5):
            try:
                async with asyncio.timeout(20):
                    await self.chance.choice(self.instances).service.cancel(id, ANN)
                    self.cancelled.add(id)
                    return
            except (ApiError, TimeoutError):
                await asyncio.sleep(1)


async def _judge(play: Play) -> None:
    reader = Instance(play.store, Answers())
    for id, question in play.accepted.items():
        events = await reader.events(id)
        last = events[-1]["response"]
        assert [event["sequence_number"] for event in events] == list(range(len(events))), f"{question}: numbers"
        assert streamed_text(events) == text_of(last), f"{question}: streamed text was taken back"
        if id in play.cancelled:
            assert last["status"] in ("cancelled", "completed"), f"{question}: {last['status']} after Stop"
        elif play.rate < 0.1:
            assert last["status"] == "completed", f"{question}: {last['status']} {last['error']}"
        if last["status"] == "completed":
            messages = [item for item in last["output"] if item["type"] == "message"]
            assert messages[-1]["content"][0]["text"] == answer_to(question), f"{question}: not whole"
            await _is_remembered_once(play, last, question)


async def _is_remembered_once(play: Play, response: JsonObject, question: str) -> None:
    key = ConversationKey(ANN.tenant, response["conversation"]["id"])
    messages = await play.store.recent(key, 100)
    assert [message.text for message in messages].count(question) == 1, f"{question}: not remembered once"
    answer = next(message for message in messages if message.activity_id == response["id"])
    assert answer.text.endswith(answer_to(question))


@pytest.mark.parametrize("seed", range(6))
def test_whatever_dies_stalls_or_gets_lost_every_accepted_response_ends_once_and_whole(
    tmp_path: Path, seed: int
) -> None:
    @in_virtual_time
    async def script(store: SqliteStore) -> None:
        play = Play(store, seed)
        await play.run()
        await asyncio.sleep(300)
        await _judge(play)

    script(tmp_path)
