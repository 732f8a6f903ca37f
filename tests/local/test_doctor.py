"""What is wrong with a laptop's settings is said at once, with the file it is in and what to change."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from app.local.doctor import answering_findings
from app.local.lifetime import listen, port_of
from app.local.settings_doctor import LocalSettings, settings_findings

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = {"DATABRICKS_BASE_URL": "https://workspace.example", "DATABRICKS_MODEL_NAME": "my-model"}
FILE = "local.settings.json"


def write(folder: Path, values: dict[str, str] | str) -> None:
    text = values if isinstance(values, str) else json.dumps({"Values": values})
    (folder / FILE).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("values", "environment", "wrong", "notes"),
    [
        ({}, {}, [], []),
        (WORKSPACE | {"DATABRICKS_TOKEN": "secret", "FUNCTIONS_WORKER_RUNTIME": "python"}, {}, [], []),
        (
            {"DATABRICKS_BASE_URL": "workspace", "OPENAI_TEMPERATURE": "secret", "DATABRICKS_TOKN": "secret"},
            {},
            [
                f"DATABRICKS_TOKN in {FILE} is not a setting of the agent; did you mean DATABRICKS_TOKEN?",
                f"DATABRICKS_BASE_URL in {FILE}: not valid; put the workspace",
                f"DATABRICKS_MODEL_NAME in {FILE}: missing; put the name of the serving endpoint",
                f"OPENAI_TEMPERATURE in {FILE}: not valid; put ",
            ],
            [],
        ),
        (WORKSPACE | {"microsoftAppID": "secret"}, {}, ["did you mean MicrosoftAppId?"], []),
        (
            WORKSPACE | {"MY_OWN": "secret"},
            {},
            [],
            [f"MY_OWN in {FILE} is not a setting of the agent; docs/settings.md"],
        ),
        (WORKSPACE | {"DATABRICKS_TOKN": ""}, {}, [], []),
        (WORKSPACE, {"TURN_LEASE_SECONDS": "-1"}, ["TURN_LEASE_SECONDS in the environment: not valid; put "], []),
        # An environment is full of what is not meant for the agent.
        (WORKSPACE, {"DATABRICKS_HOST": "x", "DATABRICKS_TOKENS_DIR": "x", "PATH": "/bin", "TOKEN": "x"}, [], []),
        (
            WORKSPACE,
            {"DATABRICKS_TOKNE": "secret"},
            [],
            ["DATABRICKS_TOKNE in the environment is not a setting of the agent; did you mean DATABRICKS_TOKEN?"],
        ),
        (
            WORKSPACE | {"DATABRICKS_TOKEN": "secret"},
            {"DATABRICKS_TOKEN": "other secret"},
            [],
            [f"DATABRICKS_TOKEN in {FILE} is not used, because the environment has another value of it; unset "],
        ),
        (
            {"DATABRICKS_TOKEN": "secret"},
            {},
            [],
            [f"DATABRICKS_TOKEN in {FILE} is set, but no workspace, so the stand-in model answers; put DATABRICKS"],
        ),
        ({"MicrosoftAppId": "secret"}, {}, ["MicrosoftAppId", "MicrosoftAppTenantId"], []),
        ('{"Values": {', {}, [f"{FILE} cannot be used; {FILE} is not valid JSON"], []),
    ],
)
def test_every_problem_of_the_settings_is_found_at_once(
    tmp_path: Path, values: dict[str, str] | str, environment: dict[str, str], wrong: list[str], notes: list[str]
) -> None:
    write(tmp_path, values)
    found = settings_findings(environment, tmp_path)
    for expected, lines in [
        (wrong, [str(finding) for finding in found if finding.wrong]),
        (notes, [str(finding) for finding in found if not finding.wrong]),
    ]:
        assert len(lines) == len(expected), lines
        for sentence, line in zip(expected, lines, strict=True):
            assert sentence in line
            assert "secret" not in line


@asynccontextmanager
async def workspace(status: int, body: dict[str, object]) -> AsyncIterator[str]:
    """Answers every request alike; gives its address."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
    await runner.setup()
    listener = listen(0)
    await web.SockSite(runner, listener).start()
    try:
        yield f"http://127.0.0.1:{port_of(listener)}/serving-endpoints"
    finally:
        await runner.cleanup()


READY = {"name": "my-model", "state": {"ready": "READY"}, "task": "llm/v1/chat"}
TOKEN = {"DATABRICKS_TOKEN": "secret"}


@pytest.mark.parametrize(
    ("status", "body", "credential", "sentence", "wrong"),
    [
        (200, READY, TOKEN, None, False),
        (401, {"error_code": "UNAUTHENTICATED"}, TOKEN, f"refused (401); check DATABRICKS_TOKEN in {FILE}", True),
        (
            403,
            {"error_code": "PERMISSION_DENIED", "message": "no"},
            TOKEN,
            f"refused (403); grant Can Query on the endpoint to the identity of DATABRICKS_TOKEN in {FILE}",
            True,
        ),
        (
            404,
            {"error_code": "RESOURCE_DOES_NOT_EXIST"},
            TOKEN,
            f"there is no serving endpoint of that name (404); check DATABRICKS_MODEL_NAME in {FILE}",
            True,
        ),
        (200, READY | {"state": {"ready": "NOT_READY"}}, TOKEN, "not ready", False),
        (
            400,
            {"error": "invalid_client"},
            {"DATABRICKS_CLIENT_ID": "id", "DATABRICKS_CLIENT_SECRET": "secret"},
            f"check DATABRICKS_CLIENT_SECRET in {FILE}",
            True,
        ),
    ],
)
async def test_the_workspace_is_asked_with_the_credential_for_the_endpoint(
    tmp_path: Path,
    status: int,
    body: dict[str, object],
    credential: dict[str, str],
    sentence: str | None,
    wrong: bool,
) -> None:
    async with workspace(status, body) as address:
        write(tmp_path, WORKSPACE | credential | {"DATABRICKS_BASE_URL": address, "DATA_DIR": str(tmp_path / "data")})
        found = await answering_findings(LocalSettings({}, tmp_path))
    if sentence is None:
        assert found == []
        return
    (finding,) = found
    assert str(finding).startswith("model my-model: ")
    assert sentence in str(finding)
    assert finding.wrong is wrong
    assert "secret" not in str(finding).replace("DATABRICKS_CLIENT_SECRET", "")


async def test_a_service_that_does_not_answer_is_named_with_its_setting(tmp_path: Path) -> None:
    with listen(0) as silent:
        address = f"http://127.0.0.1:{port_of(silent)}"
    (tmp_path / "file").touch()
    write(tmp_path, WORKSPACE | TOKEN | {"DATABRICKS_BASE_URL": address, "DATA_DIR": str(tmp_path / "file")})
    storage, model = map(str, await answering_findings(LocalSettings({}, tmp_path)))
    assert "cannot be used" in storage
    assert "set DATA_DIR to another folder" in storage
    assert "the workspace does not answer" in model
    assert f"check DATABRICKS_BASE_URL in {FILE}, and the network" in model


@pytest.mark.parametrize("module", ["app.local.run", "app.local.terminal", "app.local.doctor"])
def test_every_command_reports_wrong_settings_before_anything_starts(tmp_path: Path, module: str) -> None:
    write(tmp_path, WORKSPACE | {"DATABRICKS_TOKN": "secret", "BOT_CLOUD": "secret"})
    arguments = {"app.local.terminal": ["--port", "0", "hello"], "app.local.run": ["--port", "0", "--no-browser"]}
    done = subprocess.run(
        [sys.executable, "-m", module, "--root", str(tmp_path), *arguments.get(module, [])],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "did you mean DATABRICKS_TOKEN?" in said
    assert f"BOT_CLOUD in {FILE}: not valid; put " in said
    assert "Traceback" not in said
    assert "secret" not in said
