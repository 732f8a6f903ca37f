from __future__ import annotations

import asyncio
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agent_server.http.request_id import RequestIdFilter
from agent_server.http.server_services import AgentInfo
from agent_server.identity.request_caller import caller_of
from agent_server.protocol.task import Task
from agent_server.settings import AppEnvironment
from tests.agent_server.handlers.agents import RecordingAgent
from tests.agent_server.http.serving import ScriptedHandler, in_process, services, settings

IN_APP = AppEnvironment(name="agent", port=8000, workspace_url="https://adb-1.azuredatabricks.net")
SIGNED_IN = {"x-forwarded-host": "agent-1.azure.databricksapps.com", "host": "10.0.0.7:8000", "x-forwarded-user": "ann"}


async def test_whoever_asks_at_the_same_time_shares_one_check() -> None:
    asked = 0

    async def workspace() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)

    async with in_process(services(readiness={"model": workspace})) as client:
        answers = await asyncio.gather(*(client.get("/ready") for _ in range(20)))
        assert asked == 1
        await client.get("/ready")
    assert {answer.status_code for answer in answers} == {200}
    assert asked == 2


async def test_health_asks_nothing_else_and_ready_asks_everything() -> None:
    works = True

    async def database() -> None:
        if not works:
            raise ConnectionError("password is xyzzy")

    async def hangs() -> None:
        await asyncio.Event().wait()

    async with in_process(services(readiness={"database": database})) as client:
        ready = await client.get("/ready")
        works = False
        not_ready = await client.get("/ready")
        health = await client.get("/health")
        head = await client.head("/health")
    assert (ready.status_code, ready.json()["checks"]) == (200, {"database": "ok"})
    assert (not_ready.status_code, not_ready.json()["checks"]) == (503, {"database": "failed"})
    assert "xyzzy" not in not_ready.text
    assert (health.status_code, health.json()["status"], health.json()["version"]) == (200, "healthy", "1.2.3")
    assert (head.status_code, head.content) == (200, b"")


async def test_with_a_token_everything_is_asked_below_api() -> None:
    async with in_process(services()) as client:
        asked = [await client.get(f"/api/{path}") for path in ("health", "ready", "metrics", "agent/info", "models")]
        for path in ("invocations", "responses", "v1/responses"):
            asked.append(await client.post(f"/api/{path}", json={"input": "Hi"}))
        asked.append(await client.post("/api/chat/completions", json={"messages": [{"role": "user", "content": "Hi"}]}))
    assert [answer.status_code for answer in asked] == [200] * 9


async def test_a_check_that_hangs_is_a_failed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_server.http.operations_routes._CHECK_SECONDS", 0.01)

    async def hangs() -> None:
        await asyncio.Event().wait()

    async with in_process(services(readiness={"model": hangs})) as client:
        answer = await client.get("/ready")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"model": "failed"})


@pytest.mark.parametrize(
    ("task", "api", "endpoint"),
    [
        (Task.RESPONSES, "responses", "/responses"),
        (Task.CHAT, "chat/completions", "/chat/completions"),
        (Task.CHAT_AGENT, "chat_agent", "/invocations"),
        (Task.NONE, None, "/invocations"),
    ],
)
async def test_the_agent_says_what_it_is(task: Task, api: str | None, endpoint: str) -> None:
    info = AgentInfo("sales", "Answers about sales.", "0.1.0", "0123abcd", "postgresql")
    async with in_process(services(task=task, info=info)) as client:
        card = (await client.get("/agent/info")).json()
        models = (await client.get("/v1/models")).json()
    assert (card["name"], card["use_case"], card["agent_api"]) == ("sales", "agent", api)
    assert (card["description"], card["git_commit"], card["storage"]) == (
        "Answers about sales.",
        "0123abcd",
        "postgresql",
    )
    assert card["mlflow_version"] == version("mlflow")
    assert endpoint in card["endpoints"]
    assert [model["id"] for model in models["data"]] == ["sales"]


async def test_metrics_count_requests_by_route_and_never_by_what_a_client_made_up() -> None:
    async with in_process(services()) as client:
        await client.post("/responses", json={"input": "Hi", "stream": True})
        await client.post("/api/responses", json={"input": 1})
        await client.get("/made-up/by/a/client")
        await client.request("BREW", "/responses")
        text = (await client.get("/metrics")).text
    lines = text.splitlines()
    assert 'agent_server_requests_total{method="POST",route="responses",status="200"} 1.0' in lines
    assert 'agent_server_requests_total{method="POST",route="responses",status="400"} 1.0' in lines
    assert 'agent_server_requests_total{method="GET",route="none",status="404"} 1.0' in lines
    assert 'agent_server_requests_total{method="other",route="responses",status="405"} 1.0' in lines
    assert "agent_server_open_answers 0.0" in lines
    assert "process_resident_memory_bytes" in text
    assert "made-up" not in text
    assert 'agent_server_first_event_seconds_count{method="POST",route="responses"} 2.0' in lines


async def test_every_line_of_a_request_has_its_id(caplog: pytest.LogCaptureFixture) -> None:
    class Logging(ScriptedHandler):
        async def invoke(self, request: Any) -> Any:
            logging.getLogger("tests.handler").info("answering")
            return {}

    caplog.set_level(logging.INFO, "agent_server")
    caplog.set_level(logging.INFO, "tests.handler")
    caplog.handler.addFilter(RequestIdFilter())
    async with in_process(services(Logging(), task=Task.RESPONSES)) as client:
        answer = await client.post("/invocations?token=xyzzy", json={"input": "Hi"})
        odd = await client.post("/invocations", json={"input": "Hi"}, headers={"x-request-id": "two\twords"})
    lines = [(record.__dict__["request_id"], record.getMessage()) for record in caplog.records]
    request_id = answer.headers["x-request-id"]
    assert [text.partition(":")[0] for id, text in lines if id == request_id] == ["answering", "POST invocations"]
    assert "xyzzy" not in str(lines)
    assert odd.headers["x-request-id"].startswith("req_")


async def test_every_answer_tells_browsers_to_load_nothing_from_elsewhere() -> None:
    async with in_process(services(image_hosts=("images.example.com",))) as client:
        answers = [await client.get(path) for path in ("/", "/health", "/nothing")]
    for answer in answers:
        policy = answer.headers["content-security-policy"].split("; ")
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "img-src 'self' data: blob: https://images.example.com" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:8000", None, 200),
        ("localhost:8000", "http://localhost:8000", 200),
        ("[::1]:8000", "http://localhost:5173", 200),
        ("localhost:8000", "https://evil.example.com", 403),
        ("localhost:8000", "null", 403),
        ("localhost:8000", "http://localhost.evil.example.com", 403),
        ("localhost:8000", "http://[", 403),
        ("evil.example.com:8000", "http://evil.example.com:8000", 421),
        ("evil.example.com", None, 421),
        ("", None, 421),
        ("localhost@evil.example.com:8000", None, 421),
    ],
)
async def test_on_a_developers_machine_only_its_own_names_and_pages_may_ask(
    host: str, origin: str | None, status: int
) -> None:
    headers = {"host": host, **({"origin": origin} if origin else {})}
    async with in_process(services(task=Task.RESPONSES)) as client:
        answer = await client.post("/invocations", json={"input": "Hi"}, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "https://agent-1.azure.databricksapps.com"}, 200),
        ({"origin": "https://AGENT-1.azure.databricksapps.com:443"}, 200),
        ({"origin": "https://agent-2.azure.databricksapps.com"}, 403),
        ({"origin": "http://localhost:5173"}, 403),
        ({"origin": "https://10.0.0.7:8000"}, 403),
        ({"x-forwarded-user": ""}, 401),
    ],
)
async def test_in_an_app_a_page_may_ask_where_it_was_loaded_from(headers: dict[str, str], status: int) -> None:
    made = services(task=Task.RESPONSES, app=IN_APP, identify=lambda sent: caller_of(sent, settings().server, IN_APP))
    async with in_process(made) as client:
        answer = await client.post("/invocations", json={"input": "Hi"}, headers={**SIGNED_IN, **headers})
    assert answer.status_code == status
    if status == 401:
        assert "who you are" in answer.json()["error"]["message"]


async def test_a_header_that_a_client_adds_to_that_of_the_proxy_makes_it_nobody() -> None:
    made = services(app=IN_APP, identify=lambda sent: caller_of(sent, settings().server, IN_APP))
    async with in_process(made) as client:
        headers = [*SIGNED_IN.items(), ("x-forwarded-user", "bob")]
        answer = await client.post("/invocations", json={"input": "Hi"}, headers=headers)
    assert answer.status_code == 401


async def test_an_address_or_method_that_there_is_not_is_refused_as_json() -> None:
    async with in_process(services()) as client:
        unknown = await client.get("/nothing")
        method = await client.get("/responses")
        slash = await client.post("/responses/", json={"input": "Hi"})
        deep = await client.get("/../../etc/passwd")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    assert (method.status_code, "GET" in method.json()["error"]["message"]) == (405, True)
    assert slash.status_code in (404, 405)
    assert deep.status_code == 404


async def test_a_page_that_is_not_built_says_how_to_build_it() -> None:
    async with in_process(services()) as client:
        answer = await client.get("/", headers={"accept": "text/html"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "npm run build" in answer.text


async def test_the_built_page_is_served_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Chat</title>")
    (tmp_path / "assets" / "index-1a2b.js").write_text("let a = 1;\n" * 1000)
    (tmp_path.parent / "secret.txt").write_text("xyzzy")
    async with in_process(services(page_folder=tmp_path)) as client:
        page = await client.get("/")
        script = await client.get("/assets/index-1a2b.js")
        plain = await client.get("/assets/index-1a2b.js", headers={"accept-encoding": "identity"})
        again = await client.get("/", headers={"if-none-match": page.headers["etag"]})
        outside = await client.get("/assets/..%2f..%2fsecret.txt")
        posted = await client.post("/")
    assert "<title>Chat</title>" in page.text
    assert page.headers["cache-control"] == "no-cache"
    assert script.headers["content-type"].startswith("application/javascript")
    assert "immutable" in script.headers["cache-control"]
    assert script.headers["content-encoding"] == "gzip"
    assert script.text == plain.text
    assert "content-encoding" not in plain.headers
    assert (again.status_code, again.content) == (304, b"")
    assert outside.status_code == 404
    assert posted.status_code == 405


@pytest.mark.parametrize("task", list(Task))
async def test_the_schemas_of_the_agents_card_are_met_by_its_requests_and_answers(task: Task) -> None:
    native: dict[str, Any] = {"input": "Hi", "messages": [{"role": "user", "content": "Hi"}]}
    question = {"input": "Hi"} if task in (Task.RESPONSES, Task.NONE) else {"messages": native["messages"]}
    async with in_process(services(RecordingAgent(task).handler, task=task)) as client:
        card = (await client.get("/agent/info")).json()
        answer = (await client.post("/invocations", json=question)).json()
    for schema, value in ((card["request_schema"], question), (card["response_schema"], answer)):
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(value)
    if task is not Task.NONE:
        assert not Draft202012Validator(card["request_schema"]).is_valid({})
