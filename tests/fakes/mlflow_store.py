"""The real MLflow in this process, with a SQLite store in a temporary folder: no tracking server."""

from __future__ import annotations

import contextvars
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_server import mlflow_config
from agent_server.mlflow_config import MlflowSetup, setup_mlflow

_START_SECONDS = 120.0


@dataclass(frozen=True)
class MlflowStore:
    setup: MlflowSetup
    folder: Path

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Servers that are built meanwhile trace here."""
        token = mlflow_config._setup.set(self.setup)
        try:
            yield
        finally:
            mlflow_config._setup.reset(token)

    def trace(self, trace_id: str) -> Any:
        """As MLflow shows it, once everything is written."""
        import mlflow

        self.setup.flush(60.0)
        return mlflow.get_trace(trace_id)

    def spans(self, trace_id: str) -> dict[str, Any]:
        """By name."""
        return {span.name: span for span in self.trace(trace_id).data.spans}


@contextmanager
def an_mlflow_store(folder: Path, **variables: str) -> Iterator[MlflowStore]:
    before = dict(os.environ)
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", **variables}
    with warnings.catch_warnings():
        # Of MLflow's own imports.
        warnings.simplefilter("ignore")
        # Python 3.11 cannot parse in two threads at once (https://github.com/python/cpython/issues/106905), as pytest
        # and MLflow's imports would.
        import mlflow.pyfunc

        # In a context of its own: no other test has this tracer.
        setup = contextvars.copy_context().run(setup_mlflow, environment)
        assert setup is not None
        deadline = time.monotonic() + _START_SECONDS
        while not setup.is_ready:
            assert time.monotonic() < deadline, "MLflow did not start"
            time.sleep(0.05)
    try:
        yield MlflowStore(setup, folder)
    finally:
        setup.flush(30.0)
        mlflow.tracing.reset()
        os.environ.clear()
        os.environ.update(before)
