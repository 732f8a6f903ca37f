"""dev.py check-access: with this machine's settings, and at the deployed app."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from databricks.sdk.service.apps import App

from app.local.apps_stand_in import AppsStandIn
from app.local.stand_in_replies import api_application, refusal
from ops.databricks_app import AppError, check_access
from ops.databricks_app.bundle import load_bundle
from ops.databricks_app.check_access import findings_of_app, main
from tests.fakes.apps_service import AppsService, apps_service
from tests.fakes.serving_endpoint import TOKEN
from tests.ops.files.deployments import ROOT

NAME = "databricks-agent-dev"
GIVEN = {"endpoint": "model", "identity": "person", "user_api_scopes": "[genie, sql]"}


class Workspace:
    """A serving endpoint, and a job that nobody may see."""

    def routes(self) -> list[web.RouteDef]:
        async def me(_: web.Request) -> web.Response:
            return web.json_response({"userName": "me@example.com"})

        async def endpoint(_: web.Request) -> web.Response:
            return web.json_response({"permission_level": "CAN_QUERY", "state": {"ready": "READY"}})

        async def job(_: web.Request) -> web.Response:
            return refusal(403, "PERMISSION_DENIED", "no")

        return [
            web.get("/api/2.0/preview/scim/v2/Me", me),
            web.get("/api/2.0/serving-endpoints/model", endpoint),
            web.get("/api/2.2/jobs/get", job),
        ]


@asynccontextmanager
async def workspace() -> AsyncIterator[str]:
    async with TestServer(api_application(TOKEN, [Workspace()]), host="127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "agent_server").symlink_to(ROOT / "agent_server")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    # MLflow sets some of its own where it has been used.
    for name in [name for name in os.environ if name.startswith(("DATABRICKS_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    return tmp_path


FOUND = ["ok       identity: me@example.com", "ok       serving endpoint model: ready"]
STORAGE = "ok       file of this instance (SQLite): answers"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 0, [*FOUND, STORAGE, "Nothing is missing."]),
        (
            ["--var", "job=34"],
            1,
            [
                *FOUND,
                "missing  job 34: not permitted. Grant CAN MANAGE RUN on the job 34 to me@example.com",
                STORAGE,
                "1 of 4 are missing.",
            ],
        ),
    ],
)
async def test_one_line_each_with_this_machines_credential(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: list[str]
) -> None:
    async with workspace() as url:
        values = {"DATABRICKS_BASE_URL": url, "DATABRICKS_MODEL_NAME": "model", "DATABRICKS_TOKEN": TOKEN}
        (root / "local.settings.json").write_text(json.dumps({"Values": values}))
        assert await asyncio.to_thread(main, arguments, root) == code
    assert capsys.readouterr().out.splitlines() == said


async def test_the_model_may_be_named_by_the_bundle_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with workspace() as url:
        values = {"DATABRICKS_BASE_URL": url, "DATABRICKS_TOKEN": TOKEN}
        (root / "local.settings.json").write_text(json.dumps({"Values": values}))
        assert await asyncio.to_thread(main, ["--var", "endpoint=model"], root) == 0
        assert "serving endpoint model: ready" in capsys.readouterr().out
        assert await asyncio.to_thread(main, [], root) == 1
        assert "DATABRICKS_MODEL_NAME: missing" in capsys.readouterr().err


class DeployedApp(AppsStandIn):
    answer: tuple[int, Any] = (200, {})

    def app_routes(self) -> list[web.RouteDef]:
        async def access(request: web.Request) -> web.Response:
            if request.headers["Authorization"] != f"Bearer {self.token}" or self.token.startswith("dapi"):
                return web.Response(status=302, headers={"Location": "/oidc"})
            status, body = self.answer
            return web.json_response(body, status=status)

        return [web.get("/apps/{name}/api/access", access)]


async def asked(service: AppsService, scopes: list[str]) -> list[str]:
    def ask(client: Any) -> list[str]:
        client.apps.create_and_wait(App(name=NAME, user_api_scopes=scopes))
        bundle = load_bundle(ROOT, "dev", GIVEN, {})
        return [f"{each.ok} {each.what}: {each.says}" for each in findings_of_app(client, bundle)]

    return await service.run(ask)


async def test_the_deployed_app_answers_and_its_scopes_are_compared_with_the_bundles() -> None:
    finding = {"what": "SQL warehouse abc", "ok": False, "says": "not permitted", "seconds": 0.1}
    for scopes, line in [
        (["genie", "sql"], "True user_api_scopes: genie, sql"),
        (
            ["genie"],
            "False user_api_scopes: the app lacks sql, which the bundle names. Deploy it again: "
            "python3 dev.py deploy-app",
        ),
    ]:
        async with apps_service(stand_in=DeployedApp) as service:
            assert isinstance(service.stand_in, DeployedApp)
            service.stand_in.answer = (200, {"ok": False, "findings": [finding]})
            assert await asked(service, scopes) == [line, "False SQL warehouse abc: not permitted"]


@pytest.mark.parametrize(
    ("token", "answer", "sentence"),
    [
        ("oauth", (401, {"error": {"message": "Sign in to the app again."}}), "status 401: Sign in to the app again"),
        ("oauth", (404, {}), "status 404"),
        ("dapi01", (200, {}), "apps take OAuth tokens only"),
    ],
)
async def test_an_app_that_refuses_is_quoted(token: str, answer: tuple[int, Any], sentence: str) -> None:
    async with apps_service(token, stand_in=DeployedApp) as service:
        assert isinstance(service.stand_in, DeployedApp)
        service.stand_in.answer = answer
        with pytest.raises(AppError, match=sentence):
            await asked(service, ["genie", "sql"])


def test_nobody_signed_in_is_told_what_helps(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(profile: str | None) -> None:
        raise AppError("Nobody is signed in to Databricks")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check_access, "open_workspace", refuse)
        assert main(["--app"], root) == 1
    assert "Nobody is signed in" in capsys.readouterr().err
