"""The function host serves HTTP triggers as Azure Functions does."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from app.local import host, http_trigger
from app.local.indexing import IndexingError, index
from app.local.lifetime import listen, port_of
from tests.fakes.host_process import module_of

FUNCTIONS = """
import asyncio
import json
import threading

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.route("echo/{name}/{rest?}", methods=["POST", "PUT"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    seen = {
        "method": req.method,
        "url": req.url,
        "header": req.headers.get("X-Twice"),
        "params": dict(req.params),
        "route_params": dict(req.route_params),
        "body": req.get_body().decode(),
    }
    return func.HttpResponse(json.dumps(seen), status_code=201, mimetype="application/json", headers={"X-Mine": "yes"})


@app.route("echo/exactly")
async def exactly(req: func.HttpRequest) -> str:
    return "the literal route"


@app.route()
async def nothing(req: func.HttpRequest) -> None:
    return None


@app.route("latin")
async def latin(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("caf\\u00e9", charset="latin-1")


@app.route("context")
async def context(req: func.HttpRequest, context: func.Context) -> str:
    return " ".join([context.function_name, context.invocation_id, context.trace_context.trace_parent])


@app.route("thread")
def thread(req: func.HttpRequest) -> str:
    return "main" if threading.current_thread() is threading.main_thread() else "another"


@app.route("fails")
async def fails(req: func.HttpRequest) -> func.HttpResponse:
    raise LookupError("a secret in the message")


@app.route("wrong")
async def wrong(req: func.HttpRequest) -> func.HttpResponse:
    return 42


@app.blob_trigger(arg_name="blob", path="files", connection="C")
async def uploaded(blob: func.InputStream) -> None: ...
"""

Serve = Callable[[str], AbstractAsyncContextManager[str]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    @asynccontextmanager
    async def start(code: str) -> AsyncIterator[str]:
        listener = listen(0)
        async with host.serving(index(module_of(code, tmp_path), "api"), listener):
            yield f"http://127.0.0.1:{port_of(listener)}"

    return start


async def test_a_function_gets_the_request_as_azure_functions_passes_it(serve: Serve) -> None:
    async with serve(FUNCTIONS) as address, ClientSession() as client:
        url = f"{address}/api/Echo/Ann%20B?q=1&q=2&empty="
        headers = [("X-Twice", "a"), ("X-Twice", "b")]
        async with client.post(url, data="hi", headers=headers) as answer:
            assert answer.status == 201
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["X-Mine"] == "yes"
            seen = await answer.json()
    assert seen["method"] == "POST"
    assert seen["url"].startswith(f"{address}/api/Echo/")
    assert seen["header"] == "a,b"
    assert seen["params"] == {"q": "1,2", "empty": ""}
    assert seen["route_params"] == {"name": "Ann B"}
    assert seen["body"] == "hi"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/nowhere"), ("GET", "/api/echo/x"), ("POST", "/echo/x"), ("GET", "/"), ("POST", "/api/echo/a/b/c")],
)
async def test_an_unknown_route_or_method_is_not_found(serve: Serve, method: str, path: str) -> None:
    async with serve(FUNCTIONS) as address, ClientSession() as client, client.request(method, address + path) as answer:
        assert answer.status == 404
        assert await answer.read() == b""


@pytest.mark.parametrize(
    ("path", "status", "body", "content_type"),
    [
        ("echo/exactly", 200, "the literal route", "text/plain; charset=utf-8"),
        ("nothing", 204, "", None),
        ("latin", 200, "café", "text/plain; charset=latin-1"),
        ("thread", 200, "another", "text/plain; charset=utf-8"),
    ],
)
async def test_what_a_function_returns_becomes_the_response(
    serve: Serve, path: str, status: int, body: str, content_type: str | None
) -> None:
    async with serve(FUNCTIONS) as address, ClientSession() as client, client.get(f"{address}/api/{path}") as answer:
        assert (answer.status, await answer.text()) == (status, body)
        assert answer.headers.get("Content-Type") == content_type


async def test_an_invocation_has_an_id_and_continues_the_callers_trace(serve: Serve) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with serve(FUNCTIONS) as address, ClientSession() as client:
        told: list[list[str]] = []
        for callers in (f"00-{trace}-00f067aa0ba902b7-00", f"00-{trace}-00f067aa0ba902b7-00", "nonsense"):
            async with client.get(f"{address}/api/context", headers={"traceparent": callers}) as answer:
                told.append((await answer.text()).split())
    assert {name for name, _, _ in told} == {"context"}
    assert len({invocation for _, invocation, _ in told}) == 3
    traces = [parent.split("-") for _, _, parent in told]
    assert [(parts[1] == trace, parts[3]) for parts in traces] == [(True, "00"), (True, "00"), (False, "01")]
    assert len({parts[2] for parts in traces} | {"00f067aa0ba902b7"}) == 4, "each span is the host's own"


ONE_WITH_A_KEY = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("locked", auth_level=func.AuthLevel.FUNCTION)
async def locked(req: func.HttpRequest) -> str:
    return "in"


@app.route("open")
async def open_to_all(req: func.HttpRequest) -> str:
    return "in"
"""


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("locked", {}, 401),
        ("locked", {"x-functions-key": "another"}, 401),
        ("locked", {"Authorization": "Bearer s3cret"}, 401),
        ("locked?code=another", {}, 401),
        ("locked", {"X-Functions-Key": "s3cret"}, 200),
        ("locked?code=s3cret", {}, 200),
        ("open", {}, 200),
        ("nowhere", {}, 404),
    ],
)
async def test_where_there_is_a_function_key_the_functions_that_need_it_are_called_with_it_alone(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, path: str, headers: dict[str, str], status: int
) -> None:
    monkeypatch.setenv("FUNCTIONS_LOCAL_KEY", "s3cret")
    async with (
        serve(ONE_WITH_A_KEY) as address,
        ClientSession() as client,
        client.get(f"{address}/api/{path}", headers=headers) as answer,
    ):
        assert answer.status == status


@pytest.mark.parametrize("path", ["fails", "wrong"])
async def test_a_function_that_fails_is_an_empty_500_and_one_record_in_the_log(
    serve: Serve, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(FUNCTIONS) as address, ClientSession() as client, client.get(f"{address}/api/{path}") as answer:
        assert (answer.status, await answer.read()) == (500, b"")
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in errors] == [f"function {path} failed"]
    assert errors[0].exc_info


async def test_a_body_over_the_limit_of_azure_functions_is_413(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_trigger, "MAX_BODY_BYTES", 1000)
    async with serve(FUNCTIONS) as address, ClientSession() as client:
        for size, status in ((999, 201), (1001, 413)):
            async with client.post(f"{address}/api/echo/x", data=b"x" * size) as answer:
                assert answer.status == status


def test_functions_whose_trigger_this_host_lacks_are_named(tmp_path: Path) -> None:
    assert index(module_of(FUNCTIONS, tmp_path), "api").not_served == ("uploaded (blobTrigger)",)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("app = None", "must define one FunctionApp; it defines 0"),
        ("import azure.functions as f\na = f.FunctionApp()\nb = f.FunctionApp()", "it defines 2"),
        (
            "import azure.functions as f\napp = f.FunctionApp()\n\n\n@app.route('x')\nasync def x(request): ...",
            r"function x takes \(request\), but its trigger gives \(req\)",
        ),
        (
            "import azure.functions as f\napp = f.FunctionApp()\n\n\n@app.route('x/{id:date}')\nasync def x(req): ...",
            "function x: route .* constraint 'date' is not served here",
        ),
        (
            "import azure.functions as f\napp = f.FunctionApp()\n\n\n@app.route('a')\nasync def x(req): ...\n\n\n"
            "@app.route('b')\n@app.function_name('x')\nasync def y(req): ...",
            "does not have a unique function name",
        ),
    ],
)
def test_an_app_that_the_functions_worker_would_refuse_is_refused_with_the_reason(
    tmp_path: Path, code: str, sentence: str
) -> None:
    with pytest.raises(IndexingError, match=sentence):
        index(module_of(code, tmp_path), "api")
