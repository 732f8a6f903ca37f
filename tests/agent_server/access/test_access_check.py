"""Which grant is missing: each answer of a workspace, and the sentence that it becomes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from agent_server.access import access_check, access_probe
from agent_server.access.access_check import AccessCheck, read_resources
from agent_server.settings import load_databricks_agent_settings
from app.common.identity import APP_IDENTITY, UserIdentity
from ops.databricks_app.bundle import load_bundle
from tests.fakes.mcp_server import FakeMcpServer
from tests.fakes.serving_endpoint import TOKEN
from tests.fakes.workspaces import workspace_at
from tests.ops.files.deployments import ROOT
from tests.ops.files.test_databricks_app_files import EVERYTHING

Reply = tuple[int, Any]
PERSON = UserIdentity("person", SecretStr("persons-token"))
NOT_PERMITTED = {"error_code": "PERMISSION_DENIED", "message": "no"}
NOT_FOUND = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}
ME: Mapping[str, Any] = {"userName": "1234-app", "displayName": "the app"}
RESOURCES = load_bundle(ROOT, "dev", EVERYTHING, {}).resources
GOOD: Mapping[str, Reply] = {
    "/api/2.0/serving-endpoints/model": (200, {"state": {"ready": "READY"}, "permission_level": "CAN_QUERY"}),
    "/api/2.0/sql/warehouses/abc": (200, {"state": "STOPPED"}),
    "/api/2.0/mlflow/experiments/get": (200, {"experiment": {"lifecycle_stage": "active"}}),
}


class Workspace:
    """`replies` by path; everything else is answered with an empty object. `asked`: paths with their tokens."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = dict(GOOD)
        self.asked: dict[str, str] = {}
        self.hangs: set[str] = set()

    async def answer(self, request: web.Request) -> web.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.asked[request.path] = token
        if request.path in self.hangs:
            await asyncio.sleep(60)
        if request.path.endswith("/Me"):
            return web.json_response(ME if token == TOKEN else {"userName": "somebody@example.com"})
        status, body = self.replies.get(request.path, (200, {}))
        return web.json_response(body, status=status)


@asynccontextmanager
async def checking(workspace: Workspace, **settings: str) -> AsyncIterator[AccessCheck]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", workspace.answer)
    async with TestServer(application, host="127.0.0.1", handler_cancellation=True) as server:
        url = f"http://127.0.0.1:{server.port}"
        environment = {"DATABRICKS_BASE_URL": url, "DATABRICKS_MODEL_NAME": "model", **settings}
        async with workspace_at(url, sleep=lambda _: asyncio.sleep(0)) as client:
            yield AccessCheck(
                load_databricks_agent_settings(environment), client, experiment_id="12", resources=RESOURCES
            )


async def test_everything_that_settings_and_resources_name_is_asked_once() -> None:
    workspace = Workspace()
    async with checking(workspace, GENIE_SPACES="01ef", SQL_WAREHOUSE_ID="abc") as check:
        findings = await check.run()
    assert [each.what for each in findings] == [
        "identity",
        "serving endpoint model",
        "Genie space 01ef",
        "SQL warehouse abc",
        "MLflow experiment 12",
        "job 34",
        "secret scope/key",
        "connection crm",
        "function main.default.price",
        "volume main.default.files",
    ]
    assert all(each.ok for each in findings), findings
    assert findings[0].says == "the app (1234-app)"
    assert findings[3].says == "stopped", "it was not started"


APP = "the app (1234-app)"
BELOW_MAIN = "USE CATALOG on main and USE SCHEMA on main.default"
MODEL, WAREHOUSE = "/api/2.0/serving-endpoints/model", "/api/2.0/sql/warehouses/abc"
UNITY = "/api/2.1/unity-catalog"
QUERY = "CAN QUERY on the serving endpoint model"


@pytest.mark.parametrize(
    ("path", "grant"),
    [
        (MODEL, QUERY),
        ("/api/2.0/genie/spaces/01ef/conversations", "CAN RUN on the Genie space 01ef"),
        (WAREHOUSE, "CAN USE on the SQL warehouse abc"),
        ("/api/2.0/mlflow/experiments/get", "CAN EDIT on the MLflow experiment 12"),
        ("/api/2.2/jobs/get", "CAN MANAGE RUN on the job 34"),
        ("/api/2.0/secrets/get", "READ on the secret scope scope"),
        (f"{UNITY}/connections/crm", "USE CONNECTION on the connection crm"),
        (f"{UNITY}/functions/main.default.price", f"EXECUTE on the function main.default.price, {BELOW_MAIN}"),
        (f"{UNITY}/volumes/main.default.files", f"READ VOLUME on the volume main.default.files, {BELOW_MAIN}"),
    ],
)
async def test_a_refusal_names_the_missing_grant_and_nothing_else_fails(path: str, grant: str) -> None:
    assert await failing({path: (403, NOT_PERMITTED)}) == [f"not permitted. Grant {grant} to {APP}"]


@pytest.mark.parametrize(
    ("path", "reply", "line"),
    [
        (
            MODEL,
            (200, {"permission_level": "CAN_VIEW"}),
            f"it may be seen and not queried (CAN_VIEW). Grant {QUERY} to {APP}",
        ),
        (
            MODEL,
            (404, NOT_FOUND),
            f"there is none, or it is not visible. Check its name or id, or grant {QUERY} to {APP}",
        ),
        (
            MODEL,
            (200, {"state": {"ready": "NOT_READY"}}),
            "the endpoint is not ready (NOT_READY). Look at it under Serving",
        ),
        (WAREHOUSE, (200, {"state": "DELETED"}), "the warehouse has been deleted. Name another one"),
        (WAREHOUSE, (500, {}), f"refused: GET {WAREHOUSE}: HTTP 500"),
        (WAREHOUSE, (401, {}), f"the sign-in was refused (WorkspaceSignInError). Check the credential of {APP}"),
        (
            "/api/2.0/mlflow/experiments/set-experiment-tag",
            (403, NOT_PERMITTED),
            f"it may be read and not written to. Grant CAN EDIT on the MLflow experiment 12 to {APP}",
        ),
    ],
)
async def test_whatever_else_is_wrong_says_what_to_do(path: str, reply: Reply, line: str) -> None:
    assert await failing({path: reply}) == [line]


async def failing(replies: Mapping[str, Reply]) -> list[str]:
    workspace = Workspace()
    workspace.replies.update(replies)
    async with checking(workspace) as check:
        return [each.says for each in await check.run() if not each.ok]


async def test_a_person_is_asked_for_with_their_own_token_and_jobs_as_the_app() -> None:
    workspace = Workspace()
    scopes = "Provided OAuth token does not have required scopes: genie [ReqId: 1]"
    workspace.replies["/api/2.0/genie/spaces/01ef/conversations"] = (403, {"error_code": "X", "message": scopes})
    workspace.replies["/api/2.0/sql/warehouses/abc"] = (403, NOT_PERMITTED)
    async with checking(workspace) as check:
        findings = {each.what: each.says for each in await check.run(PERSON)}
    assert findings["identity"] == "somebody@example.com"
    assert findings["Genie space 01ef"] == (
        "the person's token lacks the scope genie. Add it to user_api_scopes, stop and start the app, and sign in again"
    )
    assert findings["SQL warehouse abc"].endswith("to somebody@example.com")
    as_app = {path for path, token in workspace.asked.items() if token == TOKEN}
    assert as_app >= {"/api/2.2/jobs/get", "/api/2.0/secrets/get", "/api/2.0/mlflow/experiments/get"}
    assert workspace.asked["/api/2.0/serving-endpoints/model"] == "persons-token"


def test_a_check_takes_less_than_ten_seconds() -> None:
    assert access_probe.TIME_LIMIT_SECONDS + access_check.IDENTITY_SECONDS < 10


async def test_what_does_not_answer_delays_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_probe, "TIME_LIMIT_SECONDS", 0.2)
    workspace = Workspace()
    workspace.hangs = {"/api/2.0/sql/warehouses/abc", "/api/2.2/jobs/get"}
    async with checking(workspace) as check:
        findings = {each.what: each for each in await check.run()}
    assert [what for what, each in findings.items() if not each.ok] == ["SQL warehouse abc", "job 34"]
    assert findings["job 34"].says.startswith("no answer within")


async def test_the_tools_of_an_mcp_server_are_listed() -> None:
    server = FakeMcpServer()
    await server.start()
    try:
        configured = json.dumps([{"name": "crm", "url": server.url}])
        async with checking(Workspace(), MCP_SERVERS=configured) as check:
            findings = {each.what: each for each in await check.run()}
            assert findings["MCP server crm"].ok
            assert findings["MCP server crm"].says.endswith(" tools")
            server.refuse_with = 403
            findings = {each.what: each for each in await check.run()}
            assert findings["MCP server crm"].says == (f"not permitted. Grant access to {server.url} to {APP}")
    finally:
        await server.stop()


async def test_storage_is_asked_and_its_error_is_not_quoted() -> None:
    async def fail() -> None:
        raise RuntimeError("password=secret")

    settings = load_databricks_agent_settings(
        {"DATABRICKS_BASE_URL": "http://127.0.0.1:1", "DATABRICKS_MODEL_NAME": "m"}
    )
    async with workspace_at("http://127.0.0.1:1", sleep=lambda _: asyncio.sleep(0)) as client:
        check = AccessCheck(settings, client, storage="PostgreSQL", ping_storage=fail)
        findings = {each.what: each.says for each in await check.run(APP_IDENTITY)}
    assert findings["PostgreSQL"] == "RuntimeError. The server's log has more"
    assert findings["identity"].startswith("Databricks does not say who asks")


@pytest.mark.parametrize(("content", "found"), [("[]", 0), ('[{"name": "a"}]', 1), ("{", 0), ("{}", 0), (None, 0)])
def test_resources_are_those_that_the_app_was_deployed_with(tmp_path: Path, content: str | None, found: int) -> None:
    file = tmp_path / "app_resources.json"
    if content is not None:
        file.write_text(content)
    assert len(read_resources(file)) == found
