"""The application on a port, until a signal ends it."""

from __future__ import annotations

import logging
import logging.config
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

import uvicorn
from uvicorn.supervisors import ChangeReload

from agent_server.http.application import Application
from agent_server.http.request_id import RequestIdFilter

_log = logging.getLogger(__name__)

_LINE = "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"
_CONNECTIONS_SECONDS = 1
# Longer than proxies keep a connection: one that is closed while they send on it is a 502.
_KEEP_ALIVE_SECONDS = 75


class Server(uvicorn.Server):
    """Lets running answers end before it closes their connections."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _log.info("The agent server listens at http://%s:%d", self.config.host, self.config.port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        application = self.config.loaded_app
        if isinstance(application, Application):
            await application.stop()
        await super().shutdown(sockets)


def serve(make: Callable[[], Application], host: str, port: int) -> None:
    """Returns when a signal has ended it. Raises `OSError` where the port is taken, and what `make` raises."""
    with closing(_listen(host, port)) as listening:
        Server(_config(make(), host, port)).run([listening])


def serve_reloading(factory: str, host: str, port: int) -> None:
    """As `serve`, in a process that is started again after each change of a file. `factory` is the import string of a
    function that makes the application.
    """
    # Made here, so that the port is kept from one process to the next.
    config = _config(factory, host, port, factory=True, reload=True)
    with closing(_listen(host, port)) as listening:
        ChangeReload(config, target=Server(config).run, sockets=[listening]).run()


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.create_server((host, port), backlog=2048)
    listening.set_inheritable(True)
    return listening


def _config(
    application: Application | str, host: str, port: int, *, factory: bool = False, reload: bool = False
) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        host=host,
        port=port,
        factory=factory,
        reload=reload,
        interface="asgi3",
        lifespan="on",
        ws="none",
        log_config=None,
        # The frame logs each request, with its id.
        access_log=False,
        # Nothing depends on the client's address, and the frame reads the proxy's other headers itself.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_CONNECTIONS_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )


class _WithoutCuts(logging.Filter):
    """Leaves out that a stream was cut on purpose: `EventStream` ends so where the answer goes on elsewhere."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing response" not in record.getMessage()


def configure_logging() -> None:
    """Of this process: to standard output, which is all that Databricks Apps keeps."""
    logging.config.dictConfig(_LOGGING)


_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": RequestIdFilter}, "cuts": {"()": _WithoutCuts}},
    "formatters": {"line": {"format": _LINE}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["request_id", "cuts"],
            "stream": "ext://sys.stdout",
        }
    },
    "root": {"level": "INFO", "handlers": ["console"]},
    # It logs each request to the model, and each event.
    "loggers": {name: {"level": "WARNING"} for name in ("httpx", "httpx2", "mcp", "uvicorn.error")},
}
