"""Health, asked over HTTP of the function app as it is deployed, with a fake workspace behind it."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from aiohttp import ClientSession

from app.config import setting_names
from app.health.dependencies import Dependencies, state_of
from app.health.health import Health
from app.local import host
from app.local.indexing import index
from app.local.lifetime import listen, port_of
from app.model import failures
from app.storage.failures import StorageFailed
from app.storage.sqlite import SqliteStore
from app.storage.sqlite_queue import SqliteQueue
from app.version import VERSION
from tests.fakes.serving_endpoint import TOKEN, Answer, ServingEndpoint, databricks_error

ROOT = Path(__file__).resolve().parents[1]
HEALTH, DEPENDENCIES = "/api/health", "/api/health/dependencies"
MODEL = "confidential-model-name"

Deployed = Callable[..., AbstractAsyncContextManager["Client"]]


class Client:
    def __init__(self, address: str, http: ClientSession) -> None:
        self._address, self._http = address, http

    async def ask(self, path: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
        async with self._http.request(method, self._address + path) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            return answer.status, await answer.json()

    def request(self, path: str, method: str, **options: Any) -> Any:
        return self._http.request(method, self._address + path, **options)


def function_app() -> ModuleType:
    """As a worker imports it, with whatever the environment says now."""
    spec = importlib.util.spec_from_file_location("function_app_under_test", ROOT / "function_app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Deployed:
    for name in [*setting_names(), "AZURE_FUNCTIONS_ENVIRONMENT", "WEBSITE_SITE_NAME"]:
        monkeypatch.delenv(name, raising=False)
    settings = {"DATABRICKS_MODEL_NAME": MODEL, "DATABRICKS_TOKEN": TOKEN, "DATA_DIR": str(tmp_path / "kept here")}

    @asynccontextmanager
    async def start(endpoint: ServingEndpoint | None = None, **more: str) -> AsyncIterator[Client]:
        base_url = {"DATABRICKS_BASE_URL": endpoint.base_url} if endpoint else {}
        for name, value in (settings | base_url | more).items():
            monkeypatch.setenv(name, value)
        listener = listen(0)
        module = await asyncio.to_thread(function_app)
        async with host.serving(index(module, ""), listener), ClientSession() as http:
            yield Client(f"http://127.0.0.1:{port_of(listener)}", http)

    return start


def assert_nothing_leaks(body: object, *more: str) -> None:
    said = json.dumps(body)
    for secret in (MODEL, TOKEN, "127.0.0.1", "kept here", "sqlite", "https://", *more):
        assert secret not in said, f"a caller would read {secret!r} in {said}"


async def test_health_says_what_runs_and_asks_nobody(deployed: Deployed) -> None:
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


def test_only_who_has_the_function_key_may_ask_about_dependencies(deployed: Deployed) -> None:
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


def description(state: object, **more: str) -> Answer:
    return Answer(200, {"name": MODEL, "task": "llm/v1/chat", "state": state, **more})


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
        (Answer(302, "", {"Location": "https://login.example/oauth2"}), "refused"),
        (Answer(200, "<html>a proxy's page</html>"), "failed"),
        (Answer(200, "[" * 100_000), "failed"),
        (Answer(200, [MODEL]), "failed"),
    ],
)
async def test_what_is_wrong_with_the_model_is_one_word_and_no_name(
    deployed: Deployed, reply: Answer, state: str
) -> None:
    async with ServingEndpoint(MODEL) as endpoint, deployed(endpoint) as client:
        endpoint.lookup_replies.append(reply)
        status, body = await client.ask(DEPENDENCIES)
        assert (status, body["status"]) == (503, "unhealthy")
        assert (body["model"]["state"], body["storage"]["state"]) == (state, "answers")
        assert_nothing_leaks(body, "login.example", "1.2.3.4", "broke")
        assert (await client.ask(HEALTH))[0] == 200, "a workspace that is down is no reason to restart the app"


@pytest.mark.parametrize("state", ["failed", "timed out"])
async def test_a_queue_that_does_not_answer_is_told_beside_a_table_that_does(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    async def away(_: SqliteQueue) -> None:
        if state == "timed out":
            await asyncio.Event().wait()
        raise StorageFailed("QueueDisabled at https://confidential-account.queue.core.windows.net")

    monkeypatch.setattr(SqliteQueue, "ping", away)
    monkeypatch.setattr("app.services.Dependencies", functools.partial(Dependencies, time_limit=2.0))
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
        endpoint.sign_in_replies.append(Answer(401, {"error": "invalid_client"}))
        pair = {"DATABRICKS_TOKEN": "", "DATABRICKS_CLIENT_ID": "a-client", "DATABRICKS_CLIENT_SECRET": "a-s3cret"}
        async with deployed(endpoint, **pair) as client:
            status, body = await client.ask(DEPENDENCIES)
    assert (status, body["model"]["state"]) == (503, "no credential")
    assert_nothing_leaks(body, "a-client", "a-s3cret", "invalid_client")


async def test_a_token_that_was_revoked_is_fetched_again_before_anything_is_called_wrong(deployed: Deployed) -> None:
    async with ServingEndpoint(MODEL) as endpoint:
        endpoint.lookup_replies.append(databricks_error(401, "UNAUTHENTICATED", "revoked"))
        pair = {"DATABRICKS_TOKEN": "", "DATABRICKS_CLIENT_ID": "a-client", "DATABRICKS_CLIENT_SECRET": "a-s3cret"}
        async with deployed(endpoint, **pair) as client:
            assert (await client.ask(DEPENDENCIES))[0] == 200
    assert [asked.token for asked in endpoint.lookups] == ["oauth-token-1", "oauth-token-2"]


async def test_where_there_is_no_endpoint_to_ask_about_the_sign_in_has_to_do(deployed: Deployed) -> None:
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


BROKEN = {
    "DATABRICKS_BASE_URL": "http://somewhere.invalid",
    "OPENAI_TEMPERATURE": "scorching",
    "MicrosoftAppId": "not-a-guid",
}


async def test_with_wrong_settings_the_app_starts_and_says_so(
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
    assert "OPENAI_TEMPERATURE: not valid; put a number from 0 to 2" in errors[0]
    assert not [value for value in (*BROKEN.values(), TOKEN) if value in caplog.text]


async def test_with_wrong_settings_an_interrupted_turn_waits_on_its_queue(deployed: Deployed, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "kept here" / "conversations.sqlite")
    await store.queue("turns").put("an interrupted turn", hidden_for=0)
    async with deployed(**BROKEN) as client:
        assert (await client.ask(HEALTH))[0] == 503
        async with client.request("/api/messages", "POST", json={"type": "message"}) as answer:
            assert answer.status == 503
    (message,) = await store.queue("turns").take(1, hidden_for=0)
    await store.close()
    assert message.tries == 1, "the host takes it, and after five times it is poison"


@pytest.mark.parametrize("broken", [False, True])
async def test_without_valid_settings_there_is_nothing_that_a_queue_or_a_timer_could_start(
    deployed: Deployed, *, broken: bool
) -> None:
    async with ServingEndpoint(MODEL) as endpoint, deployed(endpoint, **(BROKEN if broken else {})):
        functions = index(function_app(), "")
    called = ["health", "health_dependencies", "messages"]
    assert sorted(each.name for each in functions.http) == called
    others = [*(each.name for each in functions.queues), *(each.name for each in functions.timers)]
    assert others == ([] if broken else ["resume_turn", "delete_old_conversations"])


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
    assert "OPENAI_TEMPERATURE: not valid; put a number from 0 to 2" in errors
    assert "Traceback" not in errors
    if not starts:
        assert errors.startswith("These settings need attention:\n")
        assert process.returncode == 1


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Dependency:
    """Answers when it is let; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.let = asyncio.Event()
        self.failure: Exception | None = None

    async def check(self) -> None:
        self.asked += 1
        await self.let.wait()
        if self.failure:
            raise self.failure


async def test_all_who_ask_within_ten_seconds_share_one_question() -> None:
    clock, model = Clock(), Dependency()
    dependencies = Dependencies({"model": model.check}, clock=clock)
    askers = [asyncio.create_task(dependencies.look()) for _ in range(50)]
    await asyncio.sleep(0)
    model.let.set()
    await asyncio.gather(*askers)
    assert model.asked == 1
    for now, asked in ((9.9, 1), (10.0, 2), (19.9, 2), (20.0, 3)):
        clock.now = now
        await dependencies.look()
        assert model.asked == asked, f"after {now} s"
    await dependencies.close()


async def test_who_hangs_up_does_not_take_the_answer_from_the_others() -> None:
    model = Dependency()
    dependencies = Dependencies({"model": model.check})
    first, second = (asyncio.create_task(dependencies.look()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    model.let.set()
    assert (await second)["model"].state == "answers"
    assert model.asked == 1


async def test_a_dependency_that_hangs_is_given_up_and_the_other_is_still_reported() -> None:
    hangs, answers = Dependency(), Dependency()
    answers.let.set()
    dependencies = Dependencies({"model": hangs.check, "storage": answers.check}, time_limit=0.05)
    answer = await Health(dependencies).answer_with_dependencies("GET")
    body = json.loads(answer.body)
    assert (answer.status, body["model"]["state"], body["storage"]["state"]) == (503, "timed out", "answers")


async def test_a_workspace_that_takes_the_call_and_never_answers_is_timed_out(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.Dependencies", functools.partial(Dependencies, time_limit=2.0))
    with listen(0) as silent:
        base_url = f"http://127.0.0.1:{port_of(silent)}/serving-endpoints"
        async with deployed(DATABRICKS_BASE_URL=base_url) as client:
            status, body = await client.ask(DEPENDENCIES)
    assert (status, body["model"]["state"], body["storage"]["state"]) == (503, "timed out", "answers")
    assert 1 < body["model"]["seconds"] < 6


async def test_a_worker_that_ends_does_not_wait_for_a_dependency() -> None:
    model = Dependency()
    dependencies = Dependencies({"model": model.check})
    asker = asyncio.create_task(dependencies.look())
    await asyncio.sleep(0)
    await dependencies.close()
    with pytest.raises(asyncio.CancelledError):
        await asker


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock, model = Clock(), Dependency()
    model.let.set()
    dependencies = Dependencies({"model": model.check}, clock=clock)
    for failure in (None, failures.NoPermission("HTTP 403"), failures.NoPermission("HTTP 403"), None):
        model.failure = failure
        await dependencies.look()
        clock.now += 60
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("WARNING", "Health: model: refused (NoPermission: HTTP 403)"),
        ("INFO", "Health: model: answers"),
    ]


def test_every_failure_has_a_short_name_for_a_caller() -> None:
    for failure in (*vars(failures).values(), OSError, ValueError):
        if isinstance(failure, type) and issubclass(failure, Exception):
            assert len(state_of(failure("something confidential"))) < 15
