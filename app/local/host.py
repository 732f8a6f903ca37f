"""A function host: serves the HTTP triggers of `function_app.py` as Azure Functions does, on loopback.

Like `func start`, it asks for no function key, whatever a function's auth level.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import logging
import os
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from azure.functions import HttpRequest, HttpResponse
from multidict import CIMultiDict, MultiMapping

from app.local.indexing import FunctionApp, HttpFunction, IndexingError, load_function_app
from app.local.invocation import LocalContext
from app.local.lifetime import DEFAULT_PORT, LOOPBACK, PortInUseError, listen, port_of, stop_requested
from app.local.settings import ROOT, LocalSettingsError, add_local_settings

MAX_BODY_BYTES = 100 * 1024 * 1024
"""The limit of Azure Functions itself."""

_SECONDS_FOR_RUNNING_REQUESTS = 5.0
_SECONDS_TO_CLOSE = 10.0

log = logging.getLogger(__name__)


class FunctionHost:
    """An aiohttp handler for every request to the function app."""

    def __init__(self, functions: FunctionApp) -> None:
        self._functions = functions.http

    async def handle(self, request: web.BaseRequest) -> web.Response:
        found = self._find(request)
        if found is None:
            return web.Response(status=404)
        function, route_parameters = found
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return web.Response(status=413)
        try:
            answer = await _call(function, _http_request(request, route_parameters, body))
            return _web_response(answer)
        except Exception:
            log.exception("function %s failed", function.name)
            return web.Response(status=500)

    def _find(self, request: web.BaseRequest) -> tuple[HttpFunction, Mapping[str, str]] | None:
        for function in self._functions:
            if function.methods and request.method not in function.methods:
                continue
            parameters = function.route.match(request.path)
            if parameters is not None:
                return function, parameters
        return None


def _http_request(request: web.BaseRequest, route_parameters: Mapping[str, str], body: bytes) -> HttpRequest:
    return HttpRequest(
        request.method,
        str(request.url),
        headers=_joined(request.headers),
        params=_joined(request.query),
        route_params=route_parameters,
        body=body,
    )


def _joined(values: MultiMapping[str]) -> dict[str, str]:
    """The Functions host hands over one value a name, the repeated ones joined by commas."""
    joined: dict[str, str] = {}
    for name, value in values.items():
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


async def _call(function: HttpFunction, request: HttpRequest) -> object:
    arguments: dict[str, object] = {function.parameter: request}
    if function.context:
        arguments["context"] = LocalContext(function.name, request.headers)
    if inspect.iscoroutinefunction(function.code):
        return await function.code(**arguments)
    return await asyncio.to_thread(function.code, **arguments)


def _web_response(answer: object) -> web.Response:
    if answer is None:
        return web.Response(status=204)
    if isinstance(answer, str):
        return web.Response(text=answer)
    if not isinstance(answer, HttpResponse):
        raise TypeError(f"an HTTP function returned {type(answer).__name__}, not an HttpResponse")
    headers = CIMultiDict(answer.headers.items())
    charset = f"; charset={answer.charset}" if answer.mimetype.startswith("text/") else ""
    headers.setdefault("Content-Type", f"{answer.mimetype}{charset}")
    return web.Response(status=answer.status_code, headers=headers, body=answer.get_body())


def _server(host: FunctionHost) -> web.Server:
    loop = asyncio.get_running_loop()

    def make_request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:  # noqa: ANN401
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY_BYTES)

    return web.Server(host.handle, request_factory=make_request, access_log=None, auto_decompress=False)


@asynccontextmanager
async def serving(functions: FunctionApp, listener: socket.socket) -> AsyncIterator[None]:
    """Serves while the context lasts; then lets running requests end, and awaits the app's own `close`."""
    runner = web.ServerRunner(_server(FunctionHost(functions)), shutdown_timeout=_SECONDS_FOR_RUNNING_REQUESTS)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        yield
    finally:
        await runner.cleanup()
        await _close(functions)


async def _serve_until_stopped(functions: FunctionApp, listener: socket.socket, parent: int | None) -> None:
    async with serving(functions, listener):
        if functions.not_served:
            log.info("no HTTP request starts these, so they are not served: %s", ", ".join(functions.not_served))
        print(f"Functions host ready at http://{LOOPBACK}:{port_of(listener)} ({_routes(functions)})", flush=True)
        await stop_requested(parent)


def _routes(functions: FunctionApp) -> str:
    routes = [f"/{function.route.template.strip('/')}" for function in functions.http]
    return ", ".join(routes) or "no HTTP triggers"


async def _close(functions: FunctionApp) -> None:
    close = getattr(functions.module, "close", None)
    if not inspect.iscoroutinefunction(close):
        return
    try:
        async with asyncio.timeout(_SECONDS_TO_CLOSE):
            await close()
    except Exception:
        log.exception("the function app did not close cleanly")


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    root: Path = options.root.resolve()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("app", "function_app"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        os.chdir(root)
        add_local_settings(os.environ, root)
        # As Core Tools does: what is wrong with the settings then ends the start.
        os.environ.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
        # Bound before the imports: who asks early waits for the answer instead of being refused.
        with listen(options.port) as listener:
            functions = load_function_app(root)
            gc.freeze()
            gc.enable()
            asyncio.run(_serve_until_stopped(functions, listener, options.parent))
    except (PortInUseError, LocalSettingsError, IndexingError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        _explain(error)
        return 1
    return 0


def _explain(error: Exception) -> None:
    from app.config import SettingsError  # noqa: PLC0415 - only now is it needed

    if isinstance(error, SettingsError):
        print(error, file=sys.stderr)
    else:
        traceback.print_exception(error)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m app.local", description="Serves the HTTP triggers of the function app."
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of function_app.py and host.json")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this parent process is gone")
    return parser.parse_args(arguments)
