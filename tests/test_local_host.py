"""The function host serves HTTP triggers as Azure Functions does."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest
from aiohttp import ClientSession

from app.local import host
from app.local.indexing import IndexingError, index, route_prefix
from app.local.lifetime import listen, port_of

ROOT = Path(__file__).resolve().parents[1]

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


@app.timer_trigger(schedule="0 0 * * * *", arg_name="timer")
async def hourly(timer: func.TimerRequest) -> None: ...
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


def module_of(code: str, folder: Path) -> ModuleType:
    file = folder / "functions_under_test.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_a_function_sees_the_request_as_azure_functions_hands_it_over(serve: Serve) -> None:
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


async def test_an_invocation_has_an_id_and_goes_on_with_the_callers_trace(serve: Serve) -> None:
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
    monkeypatch.setattr(host, "MAX_BODY_BYTES", 1000)
    async with serve(FUNCTIONS) as address, ClientSession() as client:
        for size, status in ((999, 201), (1001, 413)):
            async with client.post(f"{address}/api/echo/x", data=b"x" * size) as answer:
                assert answer.status == status


async def test_the_app_is_closed_when_the_host_ends(tmp_path: Path) -> None:
    module = module_of(FUNCTIONS + "\nclosed = []\n\n\nasync def close():\n    closed.append(True)\n", tmp_path)
    async with host.serving(index(module, "api"), listen(0)):
        assert module.closed == []
    assert module.closed == [True]


def test_functions_that_no_request_can_start_are_named(tmp_path: Path) -> None:
    assert index(module_of(FUNCTIONS, tmp_path), "api").not_served == ("hourly (timerTrigger)",)


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


@pytest.mark.parametrize(
    ("content", "prefix"),
    [(None, "api"), ({}, "api"), ({"extensions": {"http": {"routePrefix": ""}}}, ""), ({"extensions": {}}, "api")],
)
def test_the_route_prefix_is_that_of_host_json(tmp_path: Path, content: object, prefix: str) -> None:
    if content is not None:
        (tmp_path / "host.json").write_text(json.dumps(content))
    assert route_prefix(tmp_path) == prefix


class Process:
    """`python -m app.local` as a person starts it."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.local", "--port", "0", *arguments],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def address(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("Functions host ready at http://127.0.0.1:"), (line, self.process.communicate())
        return line.split()[4]

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


@pytest.fixture
def app_folder(tmp_path: Path) -> Path:
    (tmp_path / "function_app.py").write_text(
        "import asyncio, logging, os\n"
        "import azure.functions as func\n"
        "app = func.FunctionApp()\n"
        "@app.route('value')\n"
        "async def value(req):\n"
        "    return func.HttpResponse(os.environ['FIRST'] + os.environ['SECOND'])\n"
        "@app.route('slow')\n"
        "async def slow(req):\n"
        "    print('asked', flush=True)\n"
        "    await asyncio.sleep(0.5)\n"
        "    return func.HttpResponse('finished')\n"
        "@app.queue_trigger(arg_name='message', queue_name='q', connection='C')\n"
        "async def queued(message): ...\n"
        "async def close():\n"
        "    logging.getLogger('function_app').info('closed')\n"
    )
    (tmp_path / "local.settings.json").write_text(json.dumps({"Values": {"FIRST": "file ", "SECOND": "file"}}))
    return tmp_path


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.process.kill()
        process.process.communicate()


async def test_local_settings_fill_in_what_the_environment_leaves_open(
    app_folder: Path, processes: list[Process]
) -> None:
    processes.append(process := Process("--root", str(app_folder), FIRST="environment "))
    async with ClientSession() as client, client.get(process.address() + "/api/value") as answer:
        assert await answer.text() == "environment file"
    code, log = process.end()
    assert code == 0
    assert "not served: queued (queueTrigger)" in log
    assert log.count("\n") == 2, "one line about the triggers, one from close"


async def test_a_running_request_is_answered_before_the_host_ends(app_folder: Path, processes: list[Process]) -> None:
    processes.append(process := Process("--root", str(app_folder)))
    assert process.process.stdout
    async with ClientSession() as client:
        address = process.address()
        waiting = asyncio.ensure_future(client.get(address + "/api/slow"))
        assert await asyncio.to_thread(process.process.stdout.readline) == "asked\n"
        process.process.send_signal(signal.SIGINT)
        async with await waiting as answer:
            assert await answer.text() == "finished"
    assert (await asyncio.to_thread(process.process.wait, 20)) == 0


def test_a_port_in_use_is_one_sentence(app_folder: Path) -> None:
    with listen(0) as taken:
        done = subprocess.run(
            [sys.executable, "-m", "app.local", "--root", str(app_folder), "--port", str(port_of(taken))],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        port = port_of(taken)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"Port {port} cannot be used: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="Windows tells a process nothing about its parent")
def test_the_host_ends_with_the_process_that_started_it(app_folder: Path) -> None:
    program = (
        "import os, subprocess, sys\n"
        "host = [sys.executable, '-m', 'app.local', '--port', '0', '--parent', str(os.getpid())]\n"
        "host = subprocess.Popen([*host, '--root', sys.argv[1]], stderr=subprocess.PIPE, text=True)\n"
        "host.stderr.readline()\n"
        "os._exit(0)\n"
    )
    # The host holds the parent's standard output: this returns when both have ended.
    done = subprocess.run(
        [sys.executable, "-c", program, str(app_folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=30
    )
    assert done.stdout.startswith("Functions host ready at ")


async def test_the_repositorys_own_app_is_served(processes: list[Process]) -> None:
    settings = {"DATABRICKS_BASE_URL": "https://workspace.invalid/serving-endpoints", "DATABRICKS_MODEL_NAME": "model"}
    processes.append(process := Process(**settings, DATABRICKS_TOKEN="a-token", MicrosoftAppId=""))
    async with ClientSession() as client:
        address = process.address()
        async with client.get(f"{address}/api/messages") as answer:
            assert answer.status == 405
        async with client.post(f"{address}/api/messages", data="not JSON") as answer:
            assert answer.status == 400
    code, log = process.end()
    assert code == 0
    assert "a-token" not in log
