"""The function app with settings that are not valid: it starts, and says so."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from app.local.indexing import index
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.deployed_app import (
    DEPENDENCIES,
    HEALTH,
    MODEL,
    ROOT,
    Deployed,
    assert_nothing_leaks,
    deployed_in,
    function_app,
)
from tests.fakes.serving_endpoint import TOKEN, ServingEndpoint

BROKEN = {
    "DATABRICKS_BASE_URL": "http://somewhere.invalid",
    "OPENAI_TEMPERATURE": "scorching",
    "MicrosoftAppId": "not-a-guid",
}


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Deployed:
    return deployed_in(monkeypatch, tmp_path)


async def test_with_wrong_settings_the_app_starts_and_reports_them(
    deployed: Deployed, caplog: pytest.LogCaptureFixture
) -> None:
    async with deployed(**BROKEN) as client:
        status, body = await client.ask(HEALTH)
        assert (status, body["status"], body["settings"]) == (503, "unhealthy", "invalid")
        assert set(body) == {"status", "version", "build", "settings"}
        assert_nothing_leaks(body, *BROKEN, *BROKEN.values())

        status, body = await client.ask(DEPENDENCIES)
        assert status == 503
        named = {problem.partition(":")[0] for problem in body["problems"]}
        assert named == {*BROKEN, "MicrosoftAppTenantId"}
        assert body["model"]["state"] == body["storage"]["state"] == "not asked"
        for value in (*BROKEN.values(), TOKEN, MODEL):
            assert value not in json.dumps(body)

        async with client.request("/api/messages", "POST", json={"type": "message"}) as answer:
            said = await answer.text()
            assert answer.status == 503
            assert said.startswith("The agent's settings are not valid")
            assert said.count("\n") == 0
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1, "said once, at the start"
    assert "OPENAI_TEMPERATURE: not valid; put the sampling temperature of the model, from 0 to 2" in errors[0]
    assert not [value for value in (*BROKEN.values(), TOKEN) if value in caplog.text]


async def test_with_wrong_settings_an_interrupted_turn_waits_on_its_queue(deployed: Deployed, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "kept here" / "conversations.sqlite")
    await store.queue("turns").put("an interrupted turn", visibility_timeout=0)
    async with deployed(**BROKEN) as client:
        assert (await client.ask(HEALTH))[0] == 503
        async with client.request("/api/messages", "POST", json={"type": "message"}) as answer:
            assert answer.status == 503
    (message,) = await store.queue("turns").receive(1, visibility_timeout=0)
    await store.close()
    assert message.dequeue_count == 1, "the host takes it, and after five times it is poison"


@pytest.mark.parametrize("broken", [False, True])
async def test_without_valid_settings_there_is_no_function_for_queue_or_timer(
    deployed: Deployed, *, broken: bool
) -> None:
    async with ServingEndpoint(MODEL) as endpoint, deployed(endpoint, **(BROKEN if broken else {})):
        functions = index(function_app(), "")
    called = ["health", "health_dependencies", *([] if broken else ["mcp"]), "messages"]
    assert sorted(each.name for each in functions.http) == called
    others = {*(each.name for each in functions.queues), *(each.name for each in functions.timers)}
    own = {"process_queue_message", "delete_expired", "ask_scheduled_questions"}
    assert {each for each in others if broken or "foundry_" not in each} == (set() if broken else own)


@pytest.mark.parametrize(
    ("environment", "starts"), [({}, False), ({"AZURE_FUNCTIONS_ENVIRONMENT": "Production"}, True)]
)
def test_on_a_developers_machine_a_wrong_setting_ends_the_start(environment: dict[str, str], starts: bool) -> None:
    inherited = {name: value for name, value in os.environ.items() if name != "AZURE_FUNCTIONS_ENVIRONMENT"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app.local", "--port", "0", "--parent", str(os.getpid())],
        cwd=ROOT,
        env={**inherited, **BROKEN, "DATABRICKS_MODEL_NAME": "m", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("Functions host ready at") == starts
        if starts:
            with pytest.raises(HTTPError, match="503"):
                urlopen(f"{line.split()[4]}/api/health", timeout=10)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    assert "OPENAI_TEMPERATURE: not valid; put the sampling temperature of the model, from 0 to 2" in errors
    assert "Traceback" not in errors
    if not starts:
        assert errors.startswith("These settings need attention:\n")
        assert process.returncode == 1
