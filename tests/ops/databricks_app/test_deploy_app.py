"""deploy-app against the stand-in Apps API, through Databricks' own SDK."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.apps import App

from ops.databricks_app import AppError
from ops.databricks_app import deploy_app as deploy_app_command
from ops.databricks_app.bundle import AppBundle, load_bundle
from ops.databricks_app.deploy_app import Waiting, deploy_app, main
from ops.databricks_app.deployment import app_resource
from ops.databricks_app.folder import AppFolder
from ops.databricks_app.options import open_workspace
from tests.fakes.apps_service import USER, AppsService, apps_service
from tests.ops.files.deployments import ROOT

NAME = "databricks-agent-dev"
COMMIT = "c" * 40
PERSON = {"identity": "person", "user_api_scopes": "[model-serving, genie]"}


def bundle(**given: str) -> AppBundle:
    return load_bundle(ROOT, "dev", {"endpoint": "my-model", **given}, {})


def folder(path: Path, build: str = "b" * 12, commit: str = COMMIT) -> AppFolder:
    for name, content in {
        "pyproject.toml": "[project]",
        "uv.lock": "version = 1",
        "app.yaml": "command: [uv]",
        "build.json": json.dumps({"version": "0.1.0", "build": build, "commit": commit}),
        # It would be imported as a notebook.
        "app/__init__.py": "# Databricks notebook source\n",
        "agent_server/http/routes.py": "",
        "agent_server/ui/dist/index.html": "<!doctype html>",
    }.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    return AppFolder(path, build, commit)


async def deployed(service: AppsService, made: AppFolder, wanted: AppBundle | None = None) -> str:
    waiting = Waiting(service.time, service.sleep)
    return await service.run(lambda client: deploy_app(client, wanted or bundle(), made, waiting))


async def test_a_missing_app_is_created_deployed_shared_and_healthy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with apps_service() as service:
        service.stand_in.polls = 3
        url = await deployed(service, folder(tmp_path), bundle(group="analysts", genie_space="01ef", **PERSON))
        app = service.stand_in.apps[NAME]
        assert url == f"{service.stand_in.address}/apps/{NAME}"
        assert app.active is not None
        assert app.active.files.keys() == set(folder(tmp_path).files())
        assert app.active.body["mode"] == "SNAPSHOT"
        assert app.active.body["command"] == ["uv", "run", "--frozen", "agent-server"]
        assert app.active.body["env_vars"] == [
            {"name": "DATABRICKS_MODEL_NAME", "value_from": "model"},
            {"name": "AGENT_SERVER_IDENTITY", "value": "person"},
            {"name": "GENIE_SPACES", "value_from": "genie-space"},
        ]
        assert [each["name"] for each in app.configured["resources"]] == ["model", "genie-space"]
        assert app.configured["user_api_scopes"] == ["model-serving", "genie"]
        assert app.configured["forward_user_access_token"] is True
        assert app.acl == {("group_name", "analysts"): "CAN_USE"}
        source = app.active.body["source_code_path"]
        assert source.startswith(f"/Workspace/Users/{USER}/databricks-apps/{NAME}/{'b' * 12}-")
    assert "Creating the app" in capsys.readouterr().out


async def test_a_second_deployment_changes_nothing_but_the_code(tmp_path: Path) -> None:
    async with apps_service() as service:
        await deployed(service, folder(tmp_path / "1"))
        service.stand_in.calls.clear()
        await deployed(service, folder(tmp_path / "2", "d" * 12, "e" * 40))
        assert not {"POST apps", "POST update", "PATCH app", "POST stop"} & set(service.stand_in.calls)
        app = service.stand_in.apps[NAME]
        assert len(app.deployments) == 2
        assert app.active is not None
        assert f"/{'d' * 12}-" in app.active.body["source_code_path"]


async def test_only_what_differs_is_updated_and_scopes_are_not_lost(tmp_path: Path) -> None:
    async with apps_service() as service:
        await deployed(service, folder(tmp_path), bundle(**PERSON))
        await deployed(service, folder(tmp_path), bundle(experiment="12", **PERSON))
        app = service.stand_in.apps[NAME]
        assert "PATCH app" not in service.stand_in.calls, "it replaces the whole app"
        assert service.stand_in.calls.count("POST update") == 1
        assert app.configured["user_api_scopes"] == ["model-serving", "genie"]
        assert [each["name"] for each in app.configured["resources"]] == ["model", "experiment"]


async def test_changed_scopes_stop_and_start_the_app(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with apps_service() as service:
        service.stand_in.polls = 2
        service.stand_in.deploys_at_start = True
        await deployed(service, folder(tmp_path))
        await deployed(service, folder(tmp_path), bundle(**PERSON))
        calls = service.stand_in.calls
        assert calls.index("POST update") < calls.index("POST stop") < calls.index("POST start")
        assert "people have to sign in again" in capsys.readouterr().out
        app = service.stand_in.apps[NAME]
        assert app.configured["user_api_scopes"] == ["model-serving", "genie"]
        assert [each.body["env_vars"][1]["value"] for each in app.deployments] == ["app", "app", "person"]
        await deployed(service, folder(tmp_path))
        assert "user_api_scopes" not in service.stand_in.apps[NAME].configured, "what the bundle drops is dropped"
        assert service.stand_in.apps[NAME].configured["forward_user_access_token"] is False


async def test_scopes_that_a_deployment_loses_are_set_again(tmp_path: Path) -> None:
    async with apps_service() as service:
        service.stand_in.loses_scopes = True
        service.stand_in.deploys_at_start = False
        await deployed(service, folder(tmp_path), bundle(**PERSON))
        app = service.stand_in.apps[NAME]
        assert app.configured["user_api_scopes"] == ["model-serving", "genie"]
        assert service.stand_in.calls.index("POST deployments") < service.stand_in.calls.index("POST update")


async def test_resources_and_permissions_that_others_added_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with apps_service() as service:
        await deployed(service, folder(tmp_path))
        app = service.stand_in.apps[NAME]
        app.configured["resources"].append({"name": "by-hand", "job": {"id": "7", "permission": "CAN_MANAGE_RUN"}})
        app.acl["user_name", "boss@example.com"] = "CAN_MANAGE"
        await deployed(service, folder(tmp_path), bundle(warehouse="abc", group="analysts"))
        assert [each["name"] for each in app.configured["resources"]] == ["model", "warehouse", "by-hand"]
        assert app.acl == {("user_name", "boss@example.com"): "CAN_MANAGE", ("group_name", "analysts"): "CAN_USE"}
        assert "by-hand, which the bundle does not name; it stays" in capsys.readouterr().out


async def test_a_stopped_app_is_started_and_its_own_deployment_is_waited_for(tmp_path: Path) -> None:
    async with apps_service() as service:
        service.stand_in.polls = 3
        await deployed(service, folder(tmp_path / "1"))
        service.stand_in.apps[NAME].compute = "STOPPED"
        service.stand_in.deploys_at_start = True
        await deployed(service, folder(tmp_path / "2", "d" * 12))
        deployments = service.stand_in.apps[NAME].deployments
        builds = [each.body["source_code_path"].rpartition("/")[2][0] for each in deployments]
        assert builds == ["b", "b", "d"]
        assert {each.state for each in deployments} == {"SUCCEEDED"}


async def test_a_create_that_was_carried_out_and_not_answered_is_not_an_error(tmp_path: Path) -> None:
    async with apps_service() as service:
        await deployed(service, folder(tmp_path))
        # The app is there, though the first look did not find it.
        service.stand_in.faults["GET app"].append(404)
        await deployed(service, folder(tmp_path), bundle(experiment="12"))
        assert [each["name"] for each in service.stand_in.apps[NAME].configured["resources"]] == ["model", "experiment"]


async def test_calls_that_were_carried_out_and_not_answered_are_done_once(tmp_path: Path) -> None:
    """The SDK repeats them, and meets what it has begun itself."""
    async with apps_service() as service:
        service.stand_in.polls = 2
        for call in ("POST apps", "POST deployments"):
            service.stand_in.faults_after[call].append(503)
        await deployed(service, folder(tmp_path))
        assert service.stand_in.calls.count("POST deployments") == 2
        assert len(service.stand_in.apps[NAME].deployments) == 1


@pytest.mark.parametrize("state", ["taken", "DELETING"])
async def test_an_app_that_is_being_deleted_is_not_waited_for(tmp_path: Path, state: str) -> None:
    async with apps_service() as service:
        if state == "taken":
            service.stand_in.faults["POST apps"].append(409)
        else:
            await deployed(service, folder(tmp_path))
            service.stand_in.apps[NAME].compute = state
        with pytest.raises(
            AppError, match=r"is taken; an app that is being deleted keeps it|is being deleted. Wait until it is gone"
        ):
            await deployed(service, folder(tmp_path))
        assert service.now < 60


async def test_busy_moments_of_databricks_are_repeated(tmp_path: Path) -> None:
    async with apps_service() as service:
        for call in ("GET app", "POST apps", "POST deployments", "GET deployment"):
            service.stand_in.faults[call].extend([503, 429])
        await deployed(service, folder(tmp_path))
        assert len(service.stand_in.apps[NAME].deployments) == 1


@pytest.mark.parametrize("state", ["FAILED", "CANCELLED"])
async def test_a_deployment_that_fails_says_why_and_where_the_log_is(tmp_path: Path, state: str) -> None:
    async with apps_service() as service:
        service.stand_in.outcomes.append((state, "Error installing packages."))
        with pytest.raises(AppError, match=rf"Error installing packages\.\n.*databricks apps logs {NAME}"):
            await deployed(service, folder(tmp_path))


async def test_a_setting_of_a_resource_that_is_not_there_fails_as_in_databricks(tmp_path: Path) -> None:
    """So that the stand-in's word for a good deployment means something."""
    async with apps_service() as service:

        def deploy_without_resources(client: WorkspaceClient) -> None:
            client.apps.create_and_wait(App(name=NAME))
            made = folder(tmp_path)
            waiting = Waiting(service.time, service.sleep)
            service.stand_in.apps[NAME].configured["resources"] = []
            without = bundle()
            object.__setattr__(without, "content", {**without.content, "resources": []})
            deploy_app(client, without, made, waiting)

        with pytest.raises(AppError, match="Error resolving resource model"):
            await service.run(deploy_without_resources)


async def test_an_old_commit_that_answers_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    async with apps_service() as service:
        service.stand_in.answers_as = "a" * 40
        with pytest.raises(AppError, match=f"still runs {'a' * 40} instead of {COMMIT}. Stop and start the app"):
            await deployed(service, folder(tmp_path))


async def test_a_personal_access_token_is_told_what_apps_take(tmp_path: Path) -> None:
    async with apps_service(token="dapi0123") as service:
        with pytest.raises(AppError, match="apps take OAuth tokens only, no personal access token"):
            await deployed(service, folder(tmp_path))


async def test_a_deployment_that_never_ends_is_given_up(tmp_path: Path) -> None:
    async with apps_service() as service:
        service.stand_in.polls = 10_000
        with pytest.raises(AppError, match=f"Waited 20 minutes for the compute of {NAME} in vain"):
            await deployed(service, folder(tmp_path))


async def test_old_uploads_are_deleted(tmp_path: Path) -> None:
    async with apps_service() as service:
        for build in ("1", "2", "3", "4", "5"):
            await deployed(service, folder(tmp_path / build, build * 12))
        kept = {path.split("/")[6].partition("-")[0] for path in service.stand_in.files.content}
        assert kept == {"3" * 12, "4" * 12, "5" * 12}


def test_what_the_sdk_would_drop_is_refused() -> None:
    with pytest.raises(AppError, match="databricks-sdk does not know a permission or field of the resource model"):
        app_resource({"name": "model", "serving_endpoint": {"name": "m", "permission": "CAN_ASK"}})


async def test_the_command_uploads_what_preflight_makes_and_prints_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deploy_app_command, "prepare_folder", lambda root, bundle, target: folder(tmp_path / "app"))
    async with apps_service() as service:
        monkeypatch.setattr(deploy_app_command, "open_workspace", lambda profile: service.client())
        code = await asyncio.to_thread(main, ["--var", "endpoint=my-model", "--no-preflight"])
        address = f"{service.stand_in.address}/apps/{NAME}"
    assert code == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{NAME} runs build {'b' * 12} at {address}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "The variable endpoint has no value"),
        (["--var", "endpoint=m", "--no-preflight"], "Databricks refused: "),
        (["--var", "endpoint=m"], "it does not start"),
    ],
)
async def test_what_stops_the_command_is_said_in_a_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    async def refuse(*_: object) -> None:
        raise AppError("it does not start")

    monkeypatch.setattr(deploy_app_command, "prepare_folder", lambda root, bundle, target: folder(tmp_path / "app"))
    monkeypatch.setattr(deploy_app_command, "start_and_ask", refuse)
    async with apps_service() as service:
        monkeypatch.setattr(deploy_app_command, "open_workspace", lambda profile: service.client())
        service.stand_in.faults["GET app"].append(400)
        assert await asyncio.to_thread(main, arguments) == 1
        assert service.stand_in.apps == {}, "nothing was deployed"
    assert capsys.readouterr().err.startswith(said)


def test_without_a_credential_the_sign_in_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("DATABRICKS_", "ARM_", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    said = r"Nobody is signed in to Databricks: [^\n]* authentication method\.\nThis helps: databricks auth login$"
    with pytest.raises(AppError, match=said):
        open_workspace(None)
