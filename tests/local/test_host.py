"""The function host starts with what the settings say, and ends as it should."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import ClientSession

from app.local import host
from app.local.indexing import index
from app.local.lifetime import listen, port_of
from app.storage.factory import open_storage
from tests.fakes.host_process import ROOT, HostProcess, module_of

CLOSED = """
import azure.functions as func

app = func.FunctionApp()
closed = []


@app.route()
async def nothing(req: func.HttpRequest) -> None: ...


async def close():
    closed.append(True)
"""


async def test_the_app_is_closed_when_the_host_ends(tmp_path: Path) -> None:
    module = module_of(CLOSED, tmp_path)
    async with host.serving(index(module, "api"), listen(0)):
        assert module.closed == []
    assert module.closed == [True]


@pytest.fixture
def app_folder(tmp_path: Path) -> Path:
    (tmp_path / "function_app.py").write_text(
        "import asyncio, logging, os\n"
        "import azure.functions as func\n"
        "app = func.FunctionApp()\n"
        "@app.route('value')\n"
        "async def value(req):\n"
        "    return func.HttpResponse(os.environ['FIRST'] + os.environ['SECOND'])\n"
        "@app.route('slow')\n"
        "async def slow(req):\n"
        "    print('asked', flush=True)\n"
        "    await asyncio.sleep(0.5)\n"
        "    return func.HttpResponse('finished')\n"
        "@app.blob_trigger(arg_name='blob', path='files', connection='C')\n"
        "async def uploaded(blob): ...\n"
        "async def close():\n"
        "    logging.getLogger('function_app').info('closed')\n"
    )
    (tmp_path / "local.settings.json").write_text(json.dumps({"Values": {"FIRST": "file ", "SECOND": "file"}}))
    return tmp_path


@pytest.fixture
def processes() -> Iterator[list[HostProcess]]:
    started: list[HostProcess] = []
    yield started
    for process in started:
        process.kill()


async def test_local_settings_fill_in_what_the_environment_lacks(
    app_folder: Path, processes: list[HostProcess]
) -> None:
    processes.append(process := HostProcess("--root", str(app_folder), FIRST="environment "))
    async with ClientSession() as client, client.get(process.address() + "/api/value") as answer:
        assert await answer.text() == "environment file"
    code, log = process.end()
    assert code == 0
    assert "not served: uploaded (blobTrigger)" in log
    assert log.count("\n") == 2, "one line about the triggers, one from close"


async def test_a_running_request_is_answered_before_the_host_ends(
    app_folder: Path, processes: list[HostProcess]
) -> None:
    processes.append(process := HostProcess("--root", str(app_folder)))
    async with ClientSession() as client:
        address = process.address()
        waiting = asyncio.ensure_future(client.get(address + "/api/slow"))
        assert await asyncio.to_thread(process.line) == "asked\n"
        process.process.send_signal(signal.SIGINT)
        async with await waiting as answer:
            assert await answer.text() == "finished"
    assert (await asyncio.to_thread(process.process.wait, 20)) == 0


async def test_the_app_is_closed_while_requests_still_run_so_that_it_can_end_them(
    tmp_path: Path, processes: list[HostProcess]
) -> None:
    (tmp_path / "function_app.py").write_text(
        "import asyncio\n"
        "import azure.functions as func\n"
        "app = func.FunctionApp()\n"
        "ended = asyncio.Event()\n"
        "@app.route('turn')\n"
        "async def turn(req):\n"
        "    print('asked', flush=True)\n"
        "    await ended.wait()\n"
        "    return func.HttpResponse('handed over')\n"
        "async def close():\n"
        "    ended.set()\n"
    )
    processes.append(process := HostProcess("--root", str(tmp_path)))
    async with ClientSession() as client:
        address = process.address()
        waiting = asyncio.ensure_future(client.get(address + "/api/turn"))
        assert await asyncio.to_thread(process.line) == "asked\n"
        started = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        async with await waiting as answer:
            assert await answer.text() == "handed over"
    assert (await asyncio.to_thread(process.process.wait, 20)) == 0
    assert time.monotonic() - started < 4, "nothing waited for a time limit"


async def test_a_message_stays_hidden_after_a_kill_for_as_long_as_the_host_was_told(
    tmp_path: Path, processes: list[HostProcess]
) -> None:
    (tmp_path / "function_app.py").write_text(
        "import asyncio\n"
        "import azure.functions as func\n"
        "app = func.FunctionApp()\n"
        "@app.queue_trigger('msg', 'work', 'AzureWebJobsStorage')\n"
        "async def work(msg: func.QueueMessage):\n"
        "    print('taken', flush=True)\n"
        "    await asyncio.Event().wait()\n"
    )
    file = tmp_path / "conversations.sqlite"
    await open_storage(file).open_queue("work").put("{}", visibility_timeout=0)
    settings = {"DATA_DIR": str(tmp_path), "AzureWebJobsStorage": ""}
    processes.append(process := HostProcess("--root", str(tmp_path), "--lock-seconds", "600", **settings))
    process.address()
    assert await asyncio.to_thread(process.line) == "taken\n"
    process.kill()
    with closing(sqlite3.connect(file)) as connection:
        ((visible_at,),) = connection.execute("SELECT visible_at FROM queue_message").fetchall()
    assert 590 < visible_at - time.time() <= 600


def test_a_port_in_use_is_reported_in_one_sentence(app_folder: Path) -> None:
    with listen(0) as taken:
        done = subprocess.run(
            [sys.executable, "-m", "app.local", "--root", str(app_folder), "--port", str(port_of(taken))],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        port = port_of(taken)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"Port {port} cannot be used: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="Windows tells a process nothing about its parent")
def test_an_ephemeral_host_keeps_no_conversations(tmp_path: Path, processes: list[HostProcess]) -> None:
    """The process that started the host is gone before the host ends, so that its output cannot be read."""
    print_settings = (
        "import os\nprint(os.environ['DATA_DIR'], os.environ['AzureWebJobsStorage'] or 'none', flush=True)\n"
    )
    (tmp_path / "function_app.py").write_text(print_settings + CLOSED)
    (tmp_path / "host.json").write_text("{}")
    settings = {"DATA_DIR": str(tmp_path / "kept"), "AzureWebJobsStorage": "UseDevelopmentStorage=true"}
    processes.append(HostProcess("--ephemeral", "--root", str(tmp_path), **settings))
    folder, storage = processes[0].line().split()
    processes[0].address()
    assert Path(folder).is_dir()
    assert Path(folder).stat().st_mode & 0o077 == 0
    assert storage == "none"
    assert processes[0].end()[0] == 0
    assert not Path(folder).exists()
    assert not (tmp_path / "kept").exists()


def test_the_host_ends_with_the_process_that_started_it(app_folder: Path) -> None:
    program = (
        "import os, subprocess, sys\n"
        "host = [sys.executable, '-m', 'app.local', '--port', '0', '--parent', str(os.getpid())]\n"
        "host = subprocess.Popen([*host, '--root', sys.argv[1]], stderr=subprocess.PIPE, text=True)\n"
        "host.stderr.readline()\n"
        "os._exit(0)\n"
    )
    # The host holds the parent's standard output: this returns when both have ended.
    done = subprocess.run(
        [sys.executable, "-c", program, str(app_folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=30
    )
    assert done.stdout.startswith("Functions host ready at ")


async def test_the_repositorys_own_app_is_served(tmp_path: Path, processes: list[HostProcess]) -> None:
    settings = {"DATABRICKS_BASE_URL": "https://workspace.invalid/serving-endpoints", "DATABRICKS_MODEL_NAME": "model"}
    processes.append(
        process := HostProcess(**settings, DATABRICKS_TOKEN="a-token", MicrosoftAppId="", DATA_DIR=str(tmp_path))
    )
    async with ClientSession() as client:
        address = process.address()
        async with client.get(f"{address}/api/messages") as answer:
            assert answer.status == 405
        async with client.post(f"{address}/api/messages", data="not JSON") as answer:
            assert answer.status == 400
    code, log = process.end()
    assert code == 0
    assert "a-token" not in log
