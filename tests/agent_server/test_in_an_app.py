"""The server with the very settings that a deployed app gets: those of Databricks Apps and those of the bundle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from agent_server.agent import answer
from ops.databricks_app.bundle import load_bundle
from tests.agent_server.app_server import app_server
from tests.fakes.serving_endpoint import ServingEndpoint
from tests.ops.files.deployments import ROOT


@asynccontextmanager
async def deployed(workspace: ServingEndpoint, folder: Path, **given: str) -> AsyncIterator[httpx.AsyncClient]:
    bundle = load_bundle(ROOT, "dev", {"endpoint": workspace.name, **given}, {})
    environment = {
        # https://docs.databricks.com/aws/en/dev-tools/databricks-apps/system-env; the address is given in full, since
        # the stand-in has no TLS.
        "DATABRICKS_APP_NAME": bundle.name,
        "DATABRICKS_APP_PORT": "8000",
        "DATABRICKS_WORKSPACE_ID": "1",
        "DATABRICKS_CLIENT_ID": "the-app",
        "DATABRICKS_CLIENT_SECRET": "its-secret",
        "DATABRICKS_HOST": "workspace.example.com",
        "DATABRICKS_BASE_URL": workspace.base_url,
        "DATA_DIR": str(folder),
        **{each.name: bundle.setting(each.name) for each in bundle.settings},
    }
    async with app_server(answer, environment, databricks_agent=True) as (_, http):
        yield http


async def asked(http: httpx.AsyncClient, headers: dict[str, str]) -> tuple[int, Any]:
    reply = await http.post("/api/responses", json={"input": "Why?"}, headers=headers)
    return reply.status_code, reply.json()


async def test_the_app_asks_with_its_own_service_principal_for_whoever_databricks_vouches_for(tmp_path: Path) -> None:
    async with ServingEndpoint() as workspace, deployed(workspace, tmp_path) as http:
        status, body = await asked(http, {"X-Forwarded-User": "anna", "X-Forwarded-Access-Token": "annas-token"})
        assert (status, body["status"]) == (200, "completed")
        assert [each["login"] for each in workspace.sign_ins] == ["the-app:its-secret"]
        assert {each.token for each in workspace.asked} == {"oauth-token-1"}, "identity is app"
        status, body = await asked(http, {})
        assert (status, body["error"]["type"]) == (401, "authentication_error")


async def test_where_the_bundle_says_person_everybody_asks_with_their_own_token(tmp_path: Path) -> None:
    scopes = {"identity": "person", "user_api_scopes": "[model-serving]"}
    async with ServingEndpoint() as workspace, deployed(workspace, tmp_path, **scopes) as http:
        workspace.accepted_tokens.add("annas-token")
        headers = {"X-Forwarded-User": "anna", "X-Forwarded-Access-Token": "annas-token"}
        status, body = await asked(http, headers)
        assert (status, body["status"]) == (200, "completed")
        assert {each.token for each in workspace.asked} == {"annas-token"}
        status, body = await asked(http, {"X-Forwarded-User": "berta"})
        assert status == 401
        assert "user_api_scopes" in body["error"]["message"], "the missing step is named"
        assert {each.token for each in workspace.asked} == {"annas-token"}, "nobody fell back to the app"


async def test_the_app_says_what_it_may_use_to_its_users_alone(tmp_path: Path) -> None:
    async with ServingEndpoint() as workspace, deployed(workspace, tmp_path) as http:
        assert (await http.get("/api/access")).status_code == 401
        findings = (await http.get("/api/access", headers={"X-Forwarded-User": "anna"})).json()["findings"]
        found = {each["what"]: (each["ok"], each["says"]) for each in findings}
        assert found["identity"] == (True, "Ann (ann@example.com)")
        assert found[f"serving endpoint {workspace.name}"][0]
        assert found["file of this instance (SQLite)"] == (True, "answers")
