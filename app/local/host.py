"""A function host: serves the HTTP, queue and timer triggers of `function_app.py` as Azure Functions does."""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import logging
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from app.local.host_json import HostJson, HostJsonError, QueueOptions
from app.local.http_trigger import HttpTriggers
from app.local.indexing import FunctionApp, IndexingError, load_function_app
from app.local.lifetime import DEFAULT_PORT, LOOPBACK, PortInUseError, listen, port_number, port_of, stop_requested
from app.local.local_settings import ROOT, LocalSettingsError, add_local_settings
from app.local.queue_storage import LocalQueues, data_folder
from app.local.triggers import QueueSource, Triggers

_FINISH_SECONDS = 5.0
_CLOSE_SECONDS = 10.0

log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(
    functions: FunctionApp,
    listener: socket.socket,
    *,
    queues: QueueOptions | None = None,
    source: QueueSource | None = None,
) -> AsyncIterator[None]:
    """Serves while the context lasts. At its end nothing new is started, and the app's own `close` is awaited while
    running requests and functions end, so that it can hand over the turns that they wait for.
    """
    http = web.ServerRunner(
        HttpTriggers(functions.http, os.environ.get("FUNCTIONS_LOCAL_KEY", "")).server(),
        shutdown_timeout=_FINISH_SECONDS,
    )
    triggers = Triggers(functions, queues or QueueOptions(), source or LocalQueues(os.environ), data_folder(os.environ))
    await http.setup()
    await web.SockSite(http, listener).start()
    triggers.start()
    try:
        yield
    finally:
        triggers.stop()
        await asyncio.gather(http.cleanup(), triggers.end(_FINISH_SECONDS), _close(functions))


async def _serve_until_stopped(
    functions: FunctionApp, listener: socket.socket, queues: QueueOptions, parent: int | None
) -> None:
    async with serving(functions, listener, queues=queues):
        if functions.not_served:
            log.info(
                "this host has no such triggers, so these functions are not served: %s", ", ".join(functions.not_served)
            )
        for queue in functions.queues:
            log.info("function %s is started by queue '%s'", queue.name, queue.queue)
        for timer in functions.timers:
            log.info("function %s is started by the clock: %s", timer.name, timer.schedule.expression)
        stopping = asyncio.create_task(stop_requested(parent))
        # The signal handlers are installed before the line that announces readiness.
        await asyncio.sleep(0)
        print(f"Functions host ready at http://{LOOPBACK}:{port_of(listener)} ({_routes(functions)})", flush=True)
        await stopping


def _routes(functions: FunctionApp) -> str:
    routes = [f"/{function.route.template.strip('/')}" for function in functions.http]
    return ", ".join(routes) or "no HTTP triggers"


async def _close(functions: FunctionApp) -> None:
    close = getattr(functions.module, "close", None)
    if not inspect.iscoroutinefunction(close):
        return
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await close()
    except Exception:
        log.exception("the function app did not close cleanly")


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    root: Path = options.root.resolve()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("app", "function_app"):
        logging.getLogger(name).setLevel(logging.INFO)
    with ExitStack() as stack:
        try:
            return _main(options, root, stack)
        except (PortInUseError, LocalSettingsError, HostJsonError, IndexingError) as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            _explain(error)
            return 1


def _main(options: argparse.Namespace, root: Path, stack: ExitStack) -> int:
    os.chdir(root)
    add_local_settings(os.environ, root)
    if options.ephemeral:
        os.environ |= {name: "" for name in os.environ if name.startswith("AzureWebJobsStorage")}
        folder = tempfile.TemporaryDirectory(prefix="databricks-agent-", ignore_cleanup_errors=True)
        os.environ["DATA_DIR"] = stack.enter_context(folder)
    # As Core Tools does; invalid settings then end the start.
    os.environ.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
    # Bound before the imports, so that an early request waits instead of being refused.
    with listen(options.port) as listener:
        host = HostJson.read(root, os.environ)
        functions = load_function_app(root, host.route_prefix)
        gc.freeze()
        gc.enable()
        queues = replace(host.queues, lock_seconds=options.lock_seconds)
        asyncio.run(_serve_until_stopped(functions, listener, queues, options.parent))
    return 0


def _explain(error: Exception) -> None:
    from app.config import SettingsError  # noqa: PLC0415 - needed only now

    if isinstance(error, SettingsError):
        print(error, file=sys.stderr)
    else:
        traceback.print_exception(error)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app.local", description="Serves the triggers of the function app.")
    parser.add_argument(
        "--port", type=port_number, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of function_app.py and host.json")
    parser.add_argument("--ephemeral", action="store_true", help="keep conversations only while this runs")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this parent process is gone")
    hidden = "seconds that a queue message stays hidden if this process is killed; in Azure 600 (%(default)s)"
    parser.add_argument("--lock-seconds", type=float, default=QueueOptions().lock_seconds, help=hidden)
    return parser.parse_args(arguments)
