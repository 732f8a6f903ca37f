"""Health, asked over HTTP of the function app as it is deployed, with a fake workspace behind it."""

from __future__ import annotations

import asyncio
import functools
import socket
from pathlib import Path

import pytest

from app.health.dependency_checks import DependencyChecks
from app.local.lifetime import listen, port_of
from app.storage.sqlite.sqlite_queue import SqliteQueue
from app.storage.storage_errors import StorageError
from app.version import VERSION
from tests.fakes.deployed_app import (
    DEPENDENCIES,
    HEALTH,
    MODEL,
    Deployed,
    assert_nothing_leaks,
    deployed_in,
    function_app,
)
from tests.fakes.serving_endpoint import TOKEN, HttpReply, ServingEndpoint, databricks_error


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Deployed:
    return deployed_in(monkeypatch, tmp_path)


async def test_health_says_what_runs_and_asks_no_other_service(deployed: Deployed) -> None:
    async with ServingEndpoint(MODEL) as endpoint, deployed(endpoint) as client:
        status, body = await client.ask(HEALTH)
    assert (status, body) == (
        200,
        {"status": "healthy", "version": VERSION, "build": "local", "settings": "valid"},
    )
    assert endpoint.lookups == endpoint.asked == []


@pytest.mark.parametrize("path", [HEALTH, DEPENDENCIES])
async def test_a_load_balancer_may_ask_with_head(deployed: Deployed, path: str) -> None:
    async with (
        ServingEndpoint(MODEL) as endpoint,
        deployed(endpoint) as client,
        client.request(path, "HEAD") as answer,
    ):
        assert (answer.status, await answer.read()) == (200, b"")
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", [HEALTH, DEPENDENCIES])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_any_other_method_is_told_which_ones_there_are(deployed: Deployed, path: str, method: str) -> None:
    async with (
        ServingEndpoint(MODEL) as endpoint,
        deployed(endpoint) as client,
        client.request(path, method, data=b"{}") as answer,
    ):
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"
    assert endpoint.lookups == []


def test_the_dependencies_are_shown_only_with_the_function_key(deployed: Deployed) -> None:
    levels = {
        binding["route"]: binding["authLevel"].value
        for function in function_app().app.get_functions()
        for binding in function.get_bindings_dict()["bindings"]
        if binding["type"] == "httpTrigger"
    }
    assert levels == {"api/messages": "anonymous", "api/health": "anonymous", "api/health/dependencies": "function"}


async def test_a_ready_endpoint_and_a_readable_store_answer_without_a_token_spent(deployed: Deployed) -> None:
    async with ServingEndpoint(MODEL) as endpoint, deployed(endpoint) as client:
        status, body = await client.ask(DEPENDENCIES)
    assert (status, body["status"], body["settings"]) == (200, "healthy", "valid")
    assert {name: body[name]["state"] for name in ("model", "storage")} == {"model": "answers", "storage": "answers"}
    assert all(0 <= body[name]["seconds"] < 5 for name in ("model", "storage"))
    assert [asked.path for asked in endpoint.lookups] == [f"/api/2.0/serving-endpoints/{MODEL}"]
    assert endpoint.asked == []
    assert_nothing_leaks(body)


def description(state: object, **more: str) -> HttpReply:
    return HttpReply(200, {"name": MODEL, "task": "llm/v1/chat", "state": state, **more})


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (description({"ready": "NOT_READY", "config_update": "IN_PROGRESS"}), "not ready"),
        (description(None), "not ready"),
        (description({"ready": "READY"}, permission_level="CAN_VIEW"), "refused"),
        (databricks_error(401, "UNAUTHENTICATED", f"{TOKEN} is no token"), "refused"),
        (databricks_error(403, "PERMISSION_DENIED", f"you may not see {MODEL}"), "refused"),
        (databricks_error(403, "PERMISSION_DENIED", "Source IP address 1.2.3.4 is blocked by IP ACL"), "refused"),
        (databricks_error(404, "RESOURCE_DOES_NOT_EXIST", f"there is no {MODEL}"), "not found"),
        (databricks_error(429, "REQUEST_LIMIT_EXCEEDED", "later"), "busy"),
        (databricks_error(503, "TEMPORARILY_UNAVAILABLE", "later"), "not ready"),
        (databricks_error(500, "INTERNAL_ERROR", f"{MODEL} broke"), "failed"),
        (HttpReply(302, "", {"Location": "https://login.example/oauth2"}), "refused"),
        (HttpReply(200, "<html>a proxy's page</html>"), "failed"),
        (HttpReply(200, "[" * 100_000), "failed"),
        (HttpReply(200, [MODEL]), "failed"),
    ],
)
async def test_the_models_state_is_a_word_or_two_and_no_name(deployed: Deployed, reply: HttpReply, state: str) -> None:
    async with ServingEndpoint(MODEL) as endpoint, deployed(endpoint) as client:
        endpoint.lookup_replies.append(reply)
        status, body = await client.ask(DEPENDENCIES)
        assert (status, body["status"]) == (503, "unhealthy")
        assert (body["model"]["state"], body["storage"]["state"]) == (state, "answers")
        assert_nothing_leaks(body, "login.example", "1.2.3.4", "broke")
        assert (await client.ask(HEALTH))[0] == 200, "a workspace that is down is no reason to restart the app"


@pytest.mark.parametrize("state", ["failed", "timed out"])
async def test_a_queue_that_does_not_answer_is_reported_beside_a_table_that_does(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    async def away(_: SqliteQueue) -> None:
        if state == "timed out":
            await asyncio.Event().wait()
        raise StorageError("QueueDisabled at https://confidential-account.queue.core.windows.net")

    monkeypatch.setattr(SqliteQueue, "ping", away)
    monkeypatch.setattr(
        "app.composition.functions_host.DependencyChecks", functools.partial(DependencyChecks, time_limit_seconds=2.0)
    )
    async with ServingEndpoint(MODEL) as endpoint, deployed(endpoint) as client:
        status, body = await client.ask(DEPENDENCIES)
        assert (status, body["queue"]["state"], body["storage"]["state"]) == (503, state, "answers")
        assert_nothing_leaks(body, "confidential-account")
        assert (await client.ask(HEALTH))[0] == 200, "a stranger would learn of it"


async def test_a_workspace_that_is_down_is_unreachable(deployed: Deployed) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{taken.getsockname()[1]}/serving-endpoints"
        async with deployed(DATABRICKS_BASE_URL=base_url) as client:
            status, body = await client.ask(DEPENDENCIES)
    assert (status, body["model"]["state"]) == (503, "unreachable")
    assert_nothing_leaks(body)


async def test_a_service_principal_that_cannot_sign_in_has_no_credential(deployed: Deployed) -> None:
    async with ServingEndpoint(MODEL) as endpoint:
        endpoint.sign_in_replies.append(HttpReply(401, {"error": "invalid_client"}))
        pair = {"DATABRICKS_TOKEN": "", "DATABRICKS_CLIENT_ID": "a-client", "DATABRICKS_CLIENT_SECRET": "a-s3cret"}
        async with deployed(endpoint, **pair) as client:
            status, body = await client.ask(DEPENDENCIES)
    assert (status, body["model"]["state"]) == (503, "no credential")
    assert_nothing_leaks(body, "a-client", "a-s3cret", "invalid_client")


async def test_a_revoked_token_is_fetched_again_before_anything_is_reported(deployed: Deployed) -> None:
    async with ServingEndpoint(MODEL) as endpoint:
        endpoint.lookup_replies.append(databricks_error(401, "UNAUTHENTICATED", "revoked"))
        pair = {"DATABRICKS_TOKEN": "", "DATABRICKS_CLIENT_ID": "a-client", "DATABRICKS_CLIENT_SECRET": "a-s3cret"}
        async with deployed(endpoint, **pair) as client:
            assert (await client.ask(DEPENDENCIES))[0] == 200
    assert [asked.token for asked in endpoint.lookups] == ["oauth-token-1", "oauth-token-2"]


async def test_without_an_endpoint_to_describe_the_sign_in_is_checked(deployed: Deployed) -> None:
    async with (
        ServingEndpoint(MODEL) as endpoint,
        deployed(DATABRICKS_BASE_URL=f"{endpoint.host}/ai-gateway/mlflow/v1") as client,
    ):
        status, body = await client.ask(DEPENDENCIES)
    assert (status, body["model"]["state"]) == (200, "not checked")
    assert endpoint.lookups == []


@pytest.mark.parametrize("broken", ["no database", "a file in the way"])
async def test_a_store_that_cannot_be_read_is_unhealthy_while_the_model_answers(
    deployed: Deployed, tmp_path: Path, broken: str
) -> None:
    folder = tmp_path / "kept here"
    if broken == "a file in the way":
        folder.write_text("")
    else:
        folder.mkdir()
        (folder / "conversations.sqlite").write_bytes(b"no database" * 500)
    async with ServingEndpoint(MODEL) as endpoint, deployed(endpoint) as client:
        status, body = await client.ask(DEPENDENCIES)
    assert (status, body["storage"]["state"], body["model"]["state"]) == (503, "failed", "answers")
    assert_nothing_leaks(body)


async def test_a_workspace_that_takes_the_call_and_never_answers_is_timed_out(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "app.composition.functions_host.DependencyChecks", functools.partial(DependencyChecks, time_limit_seconds=2.0)
    )
    with listen(0) as silent:
        base_url = f"http://127.0.0.1:{port_of(silent)}/serving-endpoints"
        async with deployed(DATABRICKS_BASE_URL=base_url) as client:
            status, body = await client.ask(DEPENDENCIES)
    assert (status, body["model"]["state"], body["storage"]["state"]) == (503, "timed out", "answers")
    assert 1 < body["model"]["seconds"] < 6
