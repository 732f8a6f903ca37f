"""`setup_mlflow` never stops a start."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_server import mlflow_config
from agent_server.mlflow_config import MlflowLocation, request_tracer, setup_mlflow
from agent_server.settings import AppEnvironment, load_tracing_settings
from agent_server.tracing.mlflow_tracer import MlflowTracer

IN_APP = {"DATABRICKS_APP_NAME": "agent", "DATABRICKS_HOST": "example.cloud.databricks.com"}


@pytest.fixture(autouse=True)
def only_here() -> Iterator[None]:
    """What a test sets up is not the tracer of a server that another test of this process builds."""
    before = mlflow_config._setup.get()
    yield
    mlflow_config._setup.set(before)


@pytest.mark.parametrize(
    ("environment", "location"),
    [
        ({}, None),
        (IN_APP, None),
        ({"MLFLOW_EXPERIMENT_ID": "7"}, None),
        (IN_APP | {"MLFLOW_EXPERIMENT_ID": "7"}, MlflowLocation("databricks", "7")),
        ({"MLFLOW_TRACKING_URI": "sqlite:///m.db"}, MlflowLocation("sqlite:///m.db", "", "agent-server")),
        (
            {"MLFLOW_TRACKING_URI": "http://mlflow", "MLFLOW_EXPERIMENT_NAME": "mine"},
            MlflowLocation("http://mlflow", "", "mine"),
        ),
    ],
)
def test_where_traces_go_is_configured_by_mlflows_own_variables(
    environment: dict[str, str], location: MlflowLocation | None
) -> None:
    assert MlflowLocation.of(load_tracing_settings(environment), AppEnvironment.read(environment)) == location


def test_without_configuration_nothing_is_imported_or_traced() -> None:
    code = (
        "import sys; from agent_server.mlflow_config import request_tracer, setup_mlflow\n"
        "assert setup_mlflow() is None\n"
        "trace = request_tracer().start('r', {}, response_id='', conversation_id='', owner='o')\n"
        "trace.end(None); print(repr(trace.trace_id), 'mlflow' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DATABRICKS_"))}
    root = Path(__file__).resolve().parents[2]

    ended = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)

    assert ended.stdout == "'' False\n", ended.stderr


def test_a_setting_that_is_not_valid_is_named_and_the_start_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    setup = setup_mlflow({"MLFLOW_TRACKING_URI": "sqlite:///m.db", "TRACE_CONTENT": "some"})

    assert setup is None
    assert "TRACE_CONTENT" in caplog.text


@pytest.mark.parametrize("hangs", [True, False])
def test_a_tracking_server_that_hangs_or_fails_lets_the_server_start_and_is_used_when_it_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, hangs: bool
) -> None:
    answers = threading.Event()

    def connected(*_: object) -> MlflowTracer:
        if hangs:
            answers.wait(10)
        if not answers.is_set():
            raise OSError("no answer")
        return MlflowTracer("full")

    monkeypatch.setattr(mlflow_config, "_connected", connected)
    monkeypatch.setattr(mlflow_config, "_SECONDS", 0.05 if hangs else 10.0)
    monkeypatch.setattr(mlflow_config, "_RETRY_SECONDS", 0.01)

    setup = setup_mlflow({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})

    assert setup is not None
    assert not setup.is_ready
    trace = request_tracer().start("r", {}, response_id="", conversation_id="", owner="o")
    assert trace.trace_id == ""
    trace.end({}, None)
    setup.flush()
    assert "as soon as MLflow answers" in caplog.text
    assert caplog.text.count("could not be set up") == (0 if hangs else 1)
    answers.set()
    deadline = time.monotonic() + 10
    while not setup.is_ready and time.monotonic() < deadline:
        time.sleep(0.01)
    assert setup.is_ready
