"""What is built from which settings."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from app.agent.events import Answer
from app.agent.turn import Turn
from app.composition.functions_host import Services
from app.config import load_settings
from app.storage.conversations import ConversationKey
from app.storage.keyed_records import Record, RecordKey
from app.storage.lazy import LazyQueue, LazyStore
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.serving_endpoint import DONE, TOKEN, ServingEndpoint, Stream, chat_chunk, chat_stream

WORKSPACE = {"DATABRICKS_BASE_URL": "https://w.example/serving-endpoints", "DATABRICKS_MODEL_NAME": "m"}
GUID = "11111111-2222-3333-4444-555555555555"
ACCOUNT = {
    "AzureWebJobsStorage__tableServiceUri": "https://a.table.core.windows.net",
    "AzureWebJobsStorage__queueServiceUri": "https://a.queue.core.windows.net",
    "AzureWebJobsStorage__clientId": GUID,
}
IN_AZURE = {"WEBSITE_INSTANCE_ID": "i", "MicrosoftAppId": GUID, "MicrosoftAppTenantId": GUID, **ACCOUNT}


def services(folder: Path, **settings: str) -> Services:
    return Services(load_settings({**WORKSPACE, "DATA_DIR": str(folder), "DATABRICKS_TOKEN": "t", **settings}))


def test_without_a_storage_account_all_is_in_one_file(tmp_path: Path) -> None:
    made = services(tmp_path)
    assert isinstance(made.store, SqliteStore)


@pytest.mark.parametrize("account", [ACCOUNT, {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}])
def test_with_a_storage_account_all_is_in_it(tmp_path: Path, account: dict[str, str]) -> None:
    made = services(tmp_path, **account)
    assert isinstance(made.store, LazyStore)
    assert isinstance(made.queue, LazyQueue)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("tools", "offered"), [("", True), ("true", True), ("false", False)])
async def test_a_setting_turns_tools_off_and_another_limits_an_answer(
    tmp_path: Path, tools: str, offered: bool
) -> None:
    async with ServingEndpoint("m") as endpoint:
        endpoint.replies.append(chat_stream("x" * 800, "y" * 800))
        address = {"DATABRICKS_BASE_URL": endpoint.base_url, "DATABRICKS_TOKEN": TOKEN}
        made = services(tmp_path, **address, DATABRICKS_TOOLS=tools, MAX_ANSWER_CHARACTERS="1000")
        turn = Turn("1", ConversationKey("tenant", "conversation"), "Why?")
        *_, end = [event async for event in made.agent.answer(turn, [])]
        await made.close()
    assert ("tools" in endpoint.asked[0].body) is offered
    assert end == Answer("x" * 800 + "y" * 200, truncated=True)


async def test_a_models_tool_call_goes_back_to_it_with_all_its_fields(tmp_path: Path) -> None:
    signed = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
    called = {"name": "current_time", "arguments": '{"time_zone": "UTC"}'}
    call = {"index": 0, "id": "c1", "type": "function", "function": called, **signed}
    async with ServingEndpoint("m") as endpoint:
        endpoint.replies.append(Stream([chat_chunk({"tool_calls": [call]}), chat_chunk({}, "tool_calls"), DONE]))
        made = services(tmp_path, DATABRICKS_BASE_URL=endpoint.base_url, DATABRICKS_TOKEN=TOKEN)
        turn = Turn("1", ConversationKey("tenant", "conversation"), "What time is it?")
        *_, end = [event async for event in made.agent.answer(turn, [])]
        await made.close()
    assert end == Answer("Hello")
    _, _, asked, result = endpoint.asked[1].body["messages"]
    assert asked["tool_calls"] == [{"id": "c1", "type": "function", "function": called, **signed}]
    assert result["tool_call_id"] == "c1"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM on Windows")
@pytest.mark.parametrize(("where", "listens"), [(IN_AZURE, True), ({}, False)])
async def test_in_azure_turns_are_handed_over_at_sigterm(tmp_path: Path, where: dict[str, str], listens: bool) -> None:
    made = services(tmp_path, **where)
    assert made.messages is made.bot.messages
    assert asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM) is listens
    await made.close()


async def test_what_is_older_than_conversations_are_kept_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, now = services(tmp_path, CONVERSATION_RETENTION_DAYS="3"), time.time()
    await made.store.write(Record(RecordKey(ConversationKey("t", "c"), "r"), "v"))
    for day, deleted in ((2.9, 0), (3.1, 1)):
        with monkeypatch.context() as later:
            later.setattr("app.composition.functions_host.time.time", lambda day=day: now + day * 24 * 3600)
            assert await made.delete_old() == deleted, f"after {day} days"
    await made.close()


_ASKED_AND_STOPPED = """
import asyncio, json, os, signal, sqlite3, sys
from app.config import load_settings
from app.composition.functions_host import Services

async def main():
    services = Services(load_settings(json.loads(sys.argv[1])))
    services._stop_signal.listen()
    activity = {"type": "message", "id": "1", "text": "Why?", "channelId": "emulator", "serviceUrl": sys.argv[2],
                "from": {"id": "ann"}, "recipient": {"id": "bot"}, "conversation": {"id": "c1"}}
    headers = {"Host": "localhost:7071", "Content-Type": "application/json"}
    body = json.dumps(activity).encode()
    asking = asyncio.create_task(services.messages.receive("POST", headers, body))
    await services.store.ping()
    with sqlite3.connect(services.settings.storage.conversations_file) as file:
        while not file.execute("SELECT 1 FROM queue_message").fetchall():
            await asyncio.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)
    print((await asking).status, flush=True)
    print((await services.messages.receive("POST", headers, body)).status, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM on Windows")
def test_a_worker_that_is_stopped_leaves_its_question_to_the_next_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = {
            **WORKSPACE,
            "DATABRICKS_BASE_URL": f"https://127.0.0.1:{port}/serving-endpoints",
            "DATABRICKS_TOKEN": "t",
            "DATA_DIR": str(tmp_path),
        }
        command = [sys.executable, "-c", _ASKED_AND_STOPPED, json.dumps(settings), f"http://127.0.0.1:{port}"]
        process = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    assert process.returncode == -signal.SIGTERM, process.stderr
    assert process.stdout.split() == ["503", "503"], "the channel is told that all is well, and asks nobody else"
    with closing(sqlite3.connect(tmp_path / "conversations.sqlite")) as file:
        assert file.execute("SELECT state, attempt_count, lease_until <= ? FROM turn", (time.time(),)).fetchall() == [
            ("started", 0, 1)
        ]
        assert file.execute("SELECT visible_at <= ? FROM queue_message", (time.time(),)).fetchall() == [(1,)]
