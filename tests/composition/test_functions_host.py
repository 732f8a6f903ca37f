"""What is built from which settings."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from app.composition.functions_host import FunctionsHost, start
from app.config import SettingsError, load_settings
from app.jobs.environment import load_watch_settings
from app.jobs.history.decision_records import DecisionRecords
from app.local.job_plans import TaskPlan, cluster_failure, in_turn
from app.storage.factory import open_storage
from app.turns.queue_message import UnreadableMessageError
from tests.fakes.job_service import job_service
from tests.fakes.serving_endpoint import TOKEN

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = {"DATABRICKS_BASE_URL": "https://w.example/serving-endpoints", "DATABRICKS_MODEL_NAME": "m"}
GUID = "11111111-2222-3333-4444-555555555555"
ACCOUNT = {
    "AzureWebJobsStorage__tableServiceUri": "https://a.table.core.windows.net",
    "AzureWebJobsStorage__queueServiceUri": "https://a.queue.core.windows.net",
    "AzureWebJobsStorage__blobServiceUri": "https://a.blob.core.windows.net",
    "AzureWebJobsStorage__clientId": GUID,
}
IN_AZURE = {"WEBSITE_INSTANCE_ID": "i", "MicrosoftAppId": GUID, "MicrosoftAppTenantId": GUID, **ACCOUNT}


def host(folder: Path, **settings: str) -> FunctionsHost:
    return FunctionsHost(load_settings({**WORKSPACE, "DATA_DIR": str(folder), "DATABRICKS_TOKEN": "t", **settings}))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM on Windows")
@pytest.mark.parametrize(("where", "listens"), [(IN_AZURE, True), ({}, False)])
async def test_in_azure_turns_are_handed_over_at_sigterm(tmp_path: Path, where: dict[str, str], listens: bool) -> None:
    made = host(tmp_path, **where)
    assert (await made.receive_activity("GET", {}, b"")).status == 405
    assert asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM) is listens
    await made.close()


async def test_the_credential_is_logged_by_name_at_the_first_invocation_and_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        made = host(tmp_path, DATABRICKS_TOKEN="s3cret")
        before = caplog.text
        for _ in range(2):
            await made.receive_activity("GET", {}, b"")
    await made.close()
    assert "credential" not in before, "the Functions host drops what is logged outside of an invocation"
    assert caplog.text.count("Databricks credential: personal access token") == 1
    assert "s3cret" not in caplog.text


_ASKED_AND_STOPPED = """
import asyncio, json, os, signal, sqlite3, sys
from app.config import load_settings
from app.turns.queue_message import UnreadableMessageError
from tests.fakes.job_service import job_service
from tests.fakes.serving_endpoint import TOKEN
from app.composition.functions_host import FunctionsHost

async def main():
    host = FunctionsHost(load_settings(json.loads(sys.argv[1])))
    host.install_sigterm_handler()
    activity = {"type": "message", "id": "1", "text": "Why?", "channelId": "emulator", "serviceUrl": sys.argv[2],
                "from": {"id": "ann"}, "recipient": {"id": "bot"}, "conversation": {"id": "c1"}}
    headers = {"Host": "localhost:7071", "Content-Type": "application/json"}
    body = json.dumps(activity).encode()
    asking = asyncio.create_task(host.receive_activity("POST", headers, body))
    await host.core.store.ping()
    with sqlite3.connect(host.core.settings.storage.conversations_file) as file:
        while not file.execute("SELECT 1 FROM queue_message").fetchall():
            await asyncio.sleep(0.02)
    os.kill(os.getpid(), signal.SIGTERM)
    print((await asking).status, flush=True)
    print((await host.receive_activity("POST", headers, body)).status, flush=True)
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


@pytest.mark.parametrize("is_on", [False, True])
async def test_chats_watch_jobs_where_the_job_watch_is_on(tmp_path: Path, *, is_on: bool) -> None:
    environment = {**WORKSPACE, "DATABRICKS_TOKEN": "t", "DATA_DIR": str(tmp_path)}
    made = FunctionsHost(load_settings(environment), load_watch_settings(environment) if is_on else None)
    notice = json.dumps({"v": 1, "kind": "job_notice", "id": "n", "incident": "none", "what": "opened"}).encode()
    if is_on:
        await made.process_queue_message(notice)
        await made.process_queue_message(base64.b64encode(notice))
    else:
        with pytest.raises(UnreadableMessageError):
            await made.process_queue_message(notice)
    assert (made.core.job_chat is not None, made.job_triggers is not None) == (is_on, is_on)
    await made.close()


_TRIGGERS = """
import json, function_app
triggers = {each.get_function_name(): each.get_trigger().get_dict_repr() for each in function_app.app.get_functions()}
print(json.dumps([type(function_app.host).__name__, triggers], default=str))
"""


def triggers_with(**settings: str) -> tuple[str, dict[str, dict[str, object]]]:
    environment = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    command = [sys.executable, "-c", _TRIGGERS]
    done = subprocess.run(
        command, cwd=ROOT, env=environment | settings, capture_output=True, text=True, timeout=60, check=True
    )
    host, triggers = json.loads(done.stdout.splitlines()[-1])
    return host, triggers


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ({}, "none"),
        ({"JOB_WATCH_MODE": "observe"}, "0 */5 * * * *"),
        ({"JOB_WATCH_SCHEDULE": "off"}, None),
    ],
)
def test_jobs_are_looked_at_by_the_clock_and_by_notifications_where_the_settings_say_so(
    given: dict[str, str], schedule: str | None
) -> None:
    host, triggers = triggers_with(**WORKSPACE, **given)
    assert host == "FunctionsHost"
    if schedule == "none":
        assert not {"watch_jobs", "job_notifications"} & triggers.keys()
        return
    assert triggers["job_notifications"]["route"] == "api/job-notifications"
    assert triggers.get("watch_jobs", {}).get("schedule") == schedule


def test_wrong_settings_of_the_job_watch_are_reported_with_the_others_at_start() -> None:
    host, triggers = triggers_with(JOB_WATCH_MODE="sometimes", **ACCOUNT, WEBSITE_INSTANCE_ID="i")
    assert (host, triggers.keys() & {"watch_jobs", "job_notifications"}) == ("Unconfigured", set())


def test_every_wrong_setting_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*WORKSPACE, "DATABRICKS_HOST"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JOB_WATCH_MODE", "sometimes")
    monkeypatch.setenv("BOT_CLOUD", "moon")
    monkeypatch.setenv("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
    with pytest.raises(SettingsError) as error:
        start()
    named = [problem.partition(":")[0] for problem in error.value.problems]
    assert sorted(named) == ["BOT_CLOUD", "DATABRICKS_BASE_URL", "DATABRICKS_MODEL_NAME", "JOB_WATCH_MODE"]


async def test_a_notification_of_databricks_leads_to_a_decision_about_its_run(tmp_path: Path) -> None:
    async with job_service() as jobs:
        jobs.now = time.time() - 2 * 3600
        run_id = jobs.run(TaskPlan("load", in_turn(cluster_failure("CLOUD_PROVIDER_SHUTDOWN", "CLOUD_FAILURE"))))
        environment = {
            "DATABRICKS_BASE_URL": f"{jobs.url}/serving-endpoints",
            "DATABRICKS_MODEL_NAME": "no model",
            "DATABRICKS_TOKEN": TOKEN,
            "DATA_DIR": str(tmp_path),
            "JOB_NOTIFICATION_USERNAME": "databricks",
            "JOB_NOTIFICATION_PASSWORD": "a long password",
            "JOB_MODEL_CALLS_PER_HOUR": "0",
        }
        made = FunctionsHost(load_settings(environment), load_watch_settings(environment))
        assert made.job_triggers is not None
        login = base64.b64encode(b"databricks:a long password").decode()
        body = json.dumps({"event_type": "jobs.on_failure", "run": {"run_id": run_id}}).encode()
        answer = await made.job_triggers.receive_notification("POST", {"Authorization": f"Basic {login}"}, body)
        queue = open_storage(tmp_path / "conversations.sqlite").open_queue("turns")
        (message,) = await queue.receive(5, visibility_timeout=30)
        await queue.close()
        await made.process_queue_message(message.body.encode())
        records = DecisionRecords(made.core.storage.documents, workspace=jobs.url)
        found = [record async for record in records.between(time.time() - 24 * 3600, time.time())]
        assert (answer.status, [(each.run_id, each.action) for each in found]) == (202, [(run_id, "proposed")])
        await made.job_triggers.run_pass()
        again = [record async for record in records.between(time.time() - 24 * 3600, time.time())]
        assert len(again) == 1, "the timer's pass handles the run a second time"
        await made.close()
