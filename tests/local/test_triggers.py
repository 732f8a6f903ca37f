"""A function app's queue and timer triggers, served by the real host on SQLite, and on Azurite."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from app.local import host
from app.local.host_json import QueueOptions
from app.local.indexing import index
from app.local.lifetime import listen, port_of
from app.storage.queue import MessageReceiver, PopReceiptMismatchError
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.host_process import HostProcess, module_of

FUNCTIONS = """
import asyncio
import threading
import azure.functions as func

app = func.FunctionApp()
seen = []


@app.route("alive")
async def alive(req: func.HttpRequest) -> str:
    return "yes"


@app.queue_trigger("msg", "turns", "AzureWebJobsStorage")
async def resume(msg: func.QueueMessage, context: func.Context) -> None:
    seen.append((msg, context))
    if msg.get_body().startswith(b"bad"):
        raise ValueError("this will never do")


@app.queue_trigger("msg", "blocking", "AzureWebJobsStorage")
def blocking(msg: func.QueueMessage) -> None:
    seen.append((msg, threading.current_thread() is threading.main_thread()))


@app.timer_trigger("timer", "0 17 3 * * *", run_on_startup=True)
async def clean(timer: func.TimerRequest) -> None:
    seen.append((timer, None))
"""
QUICKLY = QueueOptions(max_polling_interval_seconds=0.1)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    for name in ("AzureWebJobsStorage", "AzureWebJobsStorage__queueServiceUri"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "data"


@pytest.fixture
async def store(data: Path) -> AsyncIterator[SqliteStore]:
    """Another process's view of the same file."""
    store = SqliteStore(data / "conversations.sqlite")
    await store.ping()
    yield store
    await store.close()


@asynccontextmanager
async def served(folder: Path, listener: socket.socket | None = None) -> AsyncIterator[Any]:
    module = module_of(FUNCTIONS, folder)
    async with host.serving(index(module, "api"), listener or listen(0), queues=QUICKLY):
        yield module


async def taken(inbox: MessageReceiver, count: int = 1) -> list[str]:
    """The bodies of that many messages, once they are there."""
    bodies: list[str] = []
    async with asyncio.timeout(10):
        while len(bodies) < count:
            bodies += [message.body for message in await inbox.receive(32, visibility_timeout=100)]
            await asyncio.sleep(0.01)
    return bodies


async def until(comes: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not comes():  # noqa: ASYNC110 - functions run in threads too, and files do not tell
            await asyncio.sleep(0.01)


def messages(module: Any) -> list[Any]:
    return [(event, rest) for event, rest in module.seen if hasattr(event, "get_body")]


async def test_a_message_starts_its_function_with_what_azure_passes(tmp_path: Path, store: SqliteStore) -> None:
    async with served(tmp_path) as module:
        put = await store.queue("turns").put('{"v": 1, "text": "ä"}', visibility_timeout=0)
        await until(lambda: len(messages(module)) == 1)
    ((message, context),) = messages(module)
    assert type(message).__module__ == "azure.functions.queue"
    assert message.get_body() == '{"v": 1, "text": "ä"}'.encode()
    assert message.get_json() == {"v": 1, "text": "ä"}
    assert (message.id, message.dequeue_count) == (put.message_id, 1)
    assert message.pop_receipt
    assert message.pop_receipt != put.pop_receipt
    assert context.function_name == "resume"
    assert context.invocation_id
    assert context.trace_context.trace_parent.startswith("00-")


async def test_a_message_is_gone_after_its_function_has_run(tmp_path: Path, store: SqliteStore) -> None:
    async with served(tmp_path) as module:
        receipt = await store.queue("turns").put("good", visibility_timeout=0)
        await until(lambda: len(messages(module)) == 1)
    for name in ("turns", "turns-poison"):
        assert await store.queue(name).receive(1, visibility_timeout=0) == []
    with pytest.raises(PopReceiptMismatchError):
        await store.queue("turns").update_visibility(receipt, visibility_timeout=0)


async def test_a_hidden_message_starts_no_function_before_it_is_visible(tmp_path: Path, store: SqliteStore) -> None:
    async with served(tmp_path) as module:
        await store.queue("turns").put("later", visibility_timeout=60)
        await store.queue("turns").put("now", visibility_timeout=0)
        await until(lambda: len(messages(module)) == 1)
    assert [message.get_body() for message, _ in messages(module)] == [b"now"]


async def test_a_function_that_blocks_runs_beside_the_event_loop(tmp_path: Path, store: SqliteStore) -> None:
    async with served(tmp_path) as module:
        await store.queue("blocking").put("x", visibility_timeout=0)
        await until(lambda: len(messages(module)) == 1)
    assert [in_main_thread for _, in_main_thread in messages(module)] == [False]


async def test_a_message_that_always_fails_is_moved_to_the_poison_queue_and_the_next_one_is_served(
    tmp_path: Path, store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as module:
        await store.queue("turns").put("bad", visibility_timeout=0)
        assert await taken(store.queue("turns-poison")) == ["bad"]
        await store.queue("turns").put("good", visibility_timeout=0)
        await until(lambda: len(messages(module)) == 6)
    assert [message.dequeue_count for message, _ in messages(module)] == [1, 2, 3, 4, 5, 1]
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    moved = "Message has reached MaxDequeueCount of 5. Moving message to queue 'turns-poison'."
    assert [record.getMessage() for record in records] == ["function resume failed"] * 5 + [moved]
    assert all(record.exc_info for record in records[:5])


async def test_hosts_on_one_file_share_the_messages(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, store: SqliteStore
) -> None:
    async with served(tmp_path) as one, served(tmp_path_factory.mktemp("two")) as two:
        for number in range(40):
            await store.queue("turns").put(str(number), visibility_timeout=0)
        await until(lambda: len(messages(one)) + len(messages(two)) == 40)
    bodies = [int(message.get_body()) for module in (one, two) for message, _ in messages(module)]
    assert sorted(bodies) == list(range(40))


async def test_a_timer_that_runs_at_startup_is_given_what_azure_gives(tmp_path: Path, data: Path) -> None:
    async with served(tmp_path) as module:
        await until(lambda: module.seen and (data / "timers" / "clean.json").exists())
    ((timer, _),) = module.seen
    assert timer.past_due is False
    assert "T03:17:00" in timer.schedule_status["Next"]


async def test_storage_that_does_not_open_is_logged_once_and_stops_no_other_trigger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATA_DIR", __file__)

    def said() -> list[str]:
        return sorted(record.getMessage() for record in caplog.records if "answer" in record.getMessage())

    listener = listen(0)
    async with served(tmp_path, listener=listener), ClientSession() as client:
        await until(lambda: len(said()) == 2)
        async with client.get(f"http://127.0.0.1:{port_of(listener)}/api/alive") as answer:
            assert answer.status == 200
    assert said() == [
        "queue 'blocking' does not answer; it is tried again until it does",
        "queue 'turns' does not answer; it is tried again until it does",
    ]


APP = """
import asyncio
import azure.functions as func

app = func.FunctionApp()
ended = asyncio.Event()


@app.route("alive")
async def alive(req: func.HttpRequest) -> str:
    return "yes"


@app.queue_trigger("msg", "turns", "AzureWebJobsStorage")
async def resume(msg: func.QueueMessage) -> None:
    print(msg.get_body().decode(), msg.dequeue_count, flush=True)
    if msg.get_body() == b"until closed":
        await ended.wait()
    if msg.get_body() == b"too long":
        await asyncio.sleep(1000)


@app.timer_trigger("timer", "0 17 3 * * *")
async def clean(timer: func.TimerRequest) -> None: ...


async def close() -> None:
    ended.set()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "function_app.py").write_text(APP)
    (tmp_path / "host.json").write_text(json.dumps({"version": "2.0"}))
    return tmp_path


@pytest.fixture
def process(folder: Path) -> Iterator[HostProcess]:
    process = start(folder)
    yield process
    process.kill()


def start(folder: Path, **variables: str) -> HostProcess:
    often = {"AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.1"}
    return HostProcess("--root", str(folder), **(often | variables))


async def test_the_triggers_are_logged_at_the_start(process: HostProcess) -> None:
    process.address()
    code, log = process.end()
    assert code == 0
    assert "function resume is started by queue 'turns'" in log
    assert "function clean is started by the clock: 0 17 3 * * *" in log
    assert log.count("\n") == 2


async def test_a_function_that_close_ends_is_done_when_the_host_ends(process: HostProcess, store: SqliteStore) -> None:
    process.address()
    queue = store.queue("turns")
    await queue.put("until closed", visibility_timeout=0)
    assert await asyncio.to_thread(process.line) == "until closed 1\n"
    started = time.monotonic()
    code, log = await asyncio.to_thread(process.end)
    assert (code, "ERROR" in log) == (0, False)
    assert time.monotonic() - started < 4, "nothing waited for a time limit"
    assert await queue.receive(1, visibility_timeout=0) == []


@pytest.mark.slow
async def test_a_function_that_does_not_end_is_cancelled_and_its_message_waits_for_the_next_host(
    process: HostProcess, folder: Path, store: SqliteStore
) -> None:
    process.address()
    await store.queue("turns").put("too long", visibility_timeout=0)
    assert await asyncio.to_thread(process.line) == "too long 1\n"
    code, log = await asyncio.to_thread(process.end, signal.SIGINT)
    assert (code, "ERROR" in log) == (0, False)
    next_process = start(folder)
    try:
        next_process.address()
        assert await asyncio.to_thread(next_process.line) == "too long 2\n"
    finally:
        next_process.kill()


async def test_a_wrong_host_json_is_reported_in_one_sentence(folder: Path) -> None:
    (folder / "host.json").write_text(json.dumps({"extensions": {"queues": {"batchSize": 0}}}))
    process = start(folder)
    _, errors = process.process.communicate(timeout=30)
    assert process.process.returncode == 1
    assert errors == "host.json: extensions.queues.batchSize must be a whole number from 1 to 32\n"
