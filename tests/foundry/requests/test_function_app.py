"""The real Function App takes what is on its queues, as the Functions host hands it over."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from app.foundry.requests.request_answerer import TOO_LATE
from app.local.foundry_stand_in.function_queues import read_answer, written_message
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.deployed_app import deployed_in
from tests.fakes.serving_endpoint import ServingEndpoint, chat_stream


async def test_the_age_of_a_message_and_its_id_are_those_of_storage(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deployed, folder = deployed_in(monkeypatch, tmp_path), tmp_path / "data"
    folder.mkdir()
    file, values = folder / "conversations.sqlite", dict[str, str]()
    earlier, now = SqliteStore(file, clock=lambda: time.time() - 601), SqliteStore(file)
    for store, id in ((earlier, "late"), (now, "in time")):
        asked = written_message(id, {"query": "Sales?"}, "nested", "plain")
        await store.queue("azure-function-ask-input").put_content(asked, visibility_timeout=0)
    dropped = await now.queue("azure-function-ask-input").put_content('{"Id": "x"}', visibility_timeout=0)
    answers = now.queue("azure-function-ask-output")
    async with ServingEndpoint() as endpoint:
        endpoint.replies += [chat_stream("It is 7.")]
        async with deployed(endpoint, DATABRICKS_MODEL_NAME=endpoint.name, DATA_DIR=str(folder)), asyncio.timeout(20):
            while len(values) < 2 or dropped.message_id not in caplog.text:
                received = await answers.receive(9, visibility_timeout=600)
                values |= dict(filter(None, (read_answer(message.content) for message in received)))
                await asyncio.sleep(0.02)
    assert values == {"late": TOO_LATE, "in time": "It is 7."}
    assert len(endpoint.asked) == 1
    assert f"Message {dropped.message_id} on the queue of ask is dropped" in caplog.text
    for store in (earlier, now):
        await store.close()
