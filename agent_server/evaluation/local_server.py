"""The agent server in a thread of this process: for MLflow's models and evaluations, which are synchronous."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from types import TracebackType
from typing import Self

import uvicorn

from agent_server.cli import DEFAULT_MODULE, MODULE_VARIABLE, application
from agent_server.settings import load_databricks_agent_settings

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0


class LocalServerError(Exception):
    """The server did not start. `str()` is a sentence."""


def check_settings() -> None:
    """Of this repository's agent. Before MLflow is opened, which takes long. Raises `SettingsError`."""
    if os.environ.get(MODULE_VARIABLE, "").strip() in ("", DEFAULT_MODULE):
        load_databricks_agent_settings()


class LocalServer:
    """Serves what `AGENT_SERVER_MODULE` names, on a free port of this machine alone, from `start` to `stop`.

    Raises what `agent_server.cli.application` raises.
    """

    def __init__(self) -> None:
        # In a context of its own: a traced server leaves its tracer there.
        served = contextvars.copy_context().run(application)
        config = uvicorn.Config(served, host="127.0.0.1", port=0, lifespan="on", ws="none", log_config=None)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="agent-server", daemon=True)

    def start(self) -> str:
        """The server's URL. Raises `LocalServerError`."""
        self._thread.start()
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise LocalServerError("The agent server did not start; its log says why.")
            time.sleep(0.02)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
