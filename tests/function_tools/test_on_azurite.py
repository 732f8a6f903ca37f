"""Real queues: the function's side uses the raw client, and encodes as Azure Functions does, or not at all."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.storage.queue import TextBase64DecodePolicy
from azure.storage.queue.aio import QueueClient

from app.common.caller import UNKNOWN_CALLER
from app.function_tools.function_tools import FunctionTools
from app.models.model import ToolCall
from app.settings.function_tool_settings import FunctionToolSettings
from app.storage.factory import open_remote_queue
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_credential import StorageCredential
from app.tools.registry import ToolRegistry
from tests.fakes.azurite import Azurite
from tests.fakes.stores import account
from tests.fakes.tools import tool_context, without_data_marks
from tests.function_tools.function_workers import WEATHER

pytestmark = pytest.mark.slow

_CALLS = 20


@pytest.fixture
async def raw(azurite: Azurite) -> AsyncIterator[tuple[QueueClient, QueueClient]]:
    def client(name: str, **policies: Any) -> QueueClient:
        return QueueClient.from_connection_string(azurite.connection_string, name, **policies)

    name = uuid.uuid4().hex
    decodes = TextBase64DecodePolicy()
    async with client(f"{name}-in", message_decode_policy=decodes) as questions, client(f"{name}-out") as answers:
        await questions.create_queue()
        await answers.create_queue()
        yield questions, answers


async def test_two_workers_ask_twenty_times_and_each_hears_its_own_answer_whoever_reads_it(
    azurite: Azurite, raw: tuple[QueueClient, QueueClient], tmp_path: Path
) -> None:
    questions, answers = raw
    asked: list[str] = []

    async def function() -> None:
        while True:
            async for message in questions.receive_messages(max_messages=32):
                question = json.loads(message.content)
                asked.append(question["CorrelationId"])
                answer = {"Value": question["function_args"]["city"], "CorrelationId": question["CorrelationId"]}
                content = json.dumps(answer)
                plain = len(asked) % 2
                await answers.send_message(content if plain else base64.b64encode(content.encode()).decode())
                await questions.delete_message(message)
            await asyncio.sleep(0.02)

    entry = {**WEATHER, "endpoint": azurite.address("queue"), "reads_only": True}
    entry |= {"input_queue": questions.queue_name, "output_queue": answers.queue_name}
    settings = FunctionToolSettings.model_validate({"FUNCTION_TOOLS": [entry]})
    store = SqliteStore(tmp_path / "agent.sqlite")

    def worker() -> FunctionTools:
        return FunctionTools(
            settings,
            store.documents(),
            lambda endpoint, name: open_remote_queue(endpoint, name, account(azurite), StorageCredential()),
        )

    workers = [worker(), worker()]
    registries = [ToolRegistry(await each.tools(UNKNOWN_CALLER)) for each in workers]
    serving = asyncio.create_task(function())
    await asyncio.gather(*(each.check() for each in workers))

    async def ask(n: int) -> str:
        context = replace(tool_context(), idempotency_key=f"turn-{n}")
        call = ToolCall(str(n), "weather", json.dumps({"city": f"City {n}, größer"}))
        return without_data_marks((await registries[n % 2].run(call, context)).text)

    assert await asyncio.gather(*map(ask, range(_CALLS))) == [f"City {n}, größer" for n in range(_CALLS)]
    assert len(asked) == len(set(asked)) == _CALLS
    serving.cancel()
    await asyncio.wait({serving})
    for each in workers:
        await each.close()
    await store.close()
