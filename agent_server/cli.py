"""The command `agent-server`: serves what the `main()` of a module sets up."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from agent_server.composition.host import build_services
from agent_server.handlers.agent_module import import_agent_module
from agent_server.handlers.registry import NoHandlerError
from agent_server.http.application import Application
from agent_server.http.serving import configure_logging, serve, serve_reloading
from agent_server.server import AgentServer, recorded_servers
from agent_server.settings import AppEnvironment
from app.config import SettingsError

MODULE_VARIABLE = "AGENT_SERVER_MODULE"
DEFAULT_MODULE = "agent_server.agent"
_DEFAULT_PORT = 8000
_FACTORY = "agent_server.cli:reloaded_application"


class ModuleError(Exception):
    """What `AGENT_SERVER_MODULE` names cannot be served. `str()` is a sentence for its author."""


def command() -> int:
    return run(sys.argv[1:])


def run(arguments: Sequence[str]) -> int:
    """Returns when a signal has ended the server: 0, or 2 where it could not start."""
    options = _parser().parse_args(arguments)
    configure_logging()
    app = AppEnvironment.read()
    host = "0.0.0.0" if app.in_app else "127.0.0.1"  # noqa: S104 - the proxy of the app asks from outside
    port = options.port or app.port or _DEFAULT_PORT
    try:
        if options.reload:
            serve_reloading(_FACTORY, host, port)
        else:
            serve(application, host, port)
    except (ModuleError, NoHandlerError, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sys.stderr.write(f"Port {port} is taken. Choose another: agent-server --port {port + 1}\n")
        return 2
    return 0


def reloaded_application() -> Application:
    """In a process of its own."""
    configure_logging()
    return application()


def application() -> Application:
    """What the module of `AGENT_SERVER_MODULE` sets up. Raises `ModuleError`, `NoHandlerError` and `SettingsError`."""
    # As `python -m` has it: scripts do not find the modules beside which they are called.
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return Application(build_services(_server_of(os.environ.get(MODULE_VARIABLE, "").strip() or DEFAULT_MODULE)))


def _server_of(name: str) -> AgentServer:
    try:
        module = import_agent_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ModuleError(f"There is no module {name}: {MODULE_VARIABLE} names the file of your agent.") from None
    main = getattr(module, "main", None)
    if not callable(main):
        raise ModuleError(f"{name} has no function main(), which calls create_server().")
    with recorded_servers() as servers:
        main()
    if len(servers) != 1:
        raise ModuleError(f"The main() of {name} has to call create_server() once, and it did so {len(servers)} times.")
    return servers[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent-server", description="Serves the agent over HTTP.")
    parser.add_argument("--port", type=_port, help=f"default: DATABRICKS_APP_PORT, else {_DEFAULT_PORT}")
    parser.add_argument("--reload", action="store_true", help="start again after each change of a Python file")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(command())
