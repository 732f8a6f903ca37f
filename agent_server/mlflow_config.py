"""For people who write an agent: `setup_mlflow()` in their `main()` traces every request in MLflow."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent_server.settings import AppEnvironment, TracingSettings, load_tracing_settings
from agent_server.tracing.git_version import git_commit
from agent_server.tracing.mlflow_tracer import MlflowTracer
from agent_server.tracing.request_trace import NO_TRACING, RequestTrace, RequestTracer
from agent_server.tracing.span_processor import span_processor
from app.config import SettingsError

if TYPE_CHECKING:
    from mlflow.entities import Experiment

_log = logging.getLogger(__name__)

DEFAULT_EXPERIMENT = "agent-server"
# Its classes and tables are known (`agent_server.tracing.batch_exporter`, `sql_traces`).
_KNOWN_VERSION = "3.17.2"
_SECONDS = 20.0
_RETRY_SECONDS = 60.0
# Variables of MLflow, where nobody has set them: batches of some seconds; room for all requests; nothing sent to
# MLflow's makers, and no prices fetched from GitHub; no hints for coding agents in the log; base64 stays in its span,
# where it is cut.
_DEFAULTS = {
    "MLFLOW_ASYNC_TRACE_LOGGING_MAX_INTERVAL_MILLIS": "2000",
    "MLFLOW_ASYNC_TRACE_LOGGING_MAX_SPAN_BATCH_SIZE": "512",
    "MLFLOW_ASYNC_TRACE_LOGGING_RETRY_TIMEOUT": "60",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_MODEL_CATALOG_URI": "",
    "MLFLOW_TRACE_BUFFER_MAX_SIZE": "10000",
    "MLFLOW_TRACE_EXTRACT_ATTACHMENTS": "false",
}


@dataclass(frozen=True, slots=True)
class MlflowLocation:
    tracking_uri: str
    experiment_id: str = ""
    experiment_name: str = ""

    @classmethod
    def of(cls, settings: TracingSettings, app: AppEnvironment) -> MlflowLocation | None:
        """None where nothing is configured: then nothing is traced."""
        uri = settings.tracking_uri or ("databricks" if app.in_app and settings.experiment_id else "")
        if not uri:
            return None
        name = "" if settings.experiment_id else settings.experiment_name or DEFAULT_EXPERIMENT
        return cls(uri, settings.experiment_id or "", name)


class MlflowSetup:
    """A tracer that traces nothing until MLflow has been set up."""

    def __init__(self) -> None:
        self._tracer: MlflowTracer | None = None
        self._has_failed = False
        self._first_attempt = threading.Event()

    def start(
        self, name: str, request: dict[str, object], *, response_id: str, conversation_id: str, owner: str
    ) -> RequestTrace:
        tracer = self._tracer or NO_TRACING
        return tracer.start(name, request, response_id=response_id, conversation_id=conversation_id, owner=owner)

    @property
    def is_ready(self) -> bool:
        return self._tracer is not None

    def run(self, location: MlflowLocation, settings: TracingSettings, app: AppEnvironment) -> None:
        """Blocks until MLflow has been set up; a tracking server that fails is asked again. Never raises."""
        while True:
            try:
                self._tracer = _connected(location, settings, app)
                self._first_attempt.set()
                return
            except Exception:
                if not self._has_failed:
                    _log.exception("MLflow could not be set up; the server runs without traces, and tries it again")
                self._has_failed = True
                self._first_attempt.set()
            time.sleep(_RETRY_SECONDS)

    def wait(self, time_limit_seconds: float) -> None:
        """Blocks until the first attempt has ended, or the time is over."""
        self._first_attempt.wait(time_limit_seconds)

    def flush(self, time_limit_seconds: float = 5.0) -> None:
        """Blocks until what was traced is written, or the time is over. To be called before the process ends."""
        if self._tracer is not None:
            self._tracer.flush(time_limit_seconds)


_setup: ContextVar[MlflowSetup | None] = ContextVar("mlflow_setup", default=None)


def setup_mlflow(environment: Mapping[str, str] = os.environ) -> MlflowSetup | None:
    """Traces every request from now on, and links traces to the git commit that runs.

    Does nothing where neither `MLFLOW_TRACKING_URI` nor, in an app, `MLFLOW_EXPERIMENT_ID` is set. Never raises, and
    waits for a slow tracking server 20 s at most: then requests are not traced until it answers.
    """
    app = AppEnvironment.read(environment)
    try:
        settings = load_tracing_settings(environment)
    except SettingsError as error:
        _log.error("Requests are not traced. %s", error)
        return None
    location = MlflowLocation.of(settings, app)
    if location is None:
        _log.info("Requests are not traced: MLFLOW_TRACKING_URI is not set")
        return None
    setup = MlflowSetup()
    _setup.set(setup)
    # Daemon: a server that is stopped meanwhile does not wait for it.
    threading.Thread(target=setup.run, args=(location, settings, app), name="mlflow-setup", daemon=True).start()
    setup.wait(_SECONDS)
    if not setup.is_ready:
        _log.warning("Requests are traced as soon as MLflow answers")
    return setup


def request_tracer() -> RequestTracer:
    """That of `setup_mlflow`, called before in this context; otherwise one that traces nothing."""
    return _setup.get() or NO_TRACING


def mlflow_setup() -> MlflowSetup | None:
    """What `setup_mlflow` returned; None where it was not called, or nothing is configured."""
    return _setup.get()


def set_mlflow_defaults() -> None:
    """To be called before MLflow is imported."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def _connected(location: MlflowLocation, settings: TracingSettings, app: AppEnvironment) -> MlflowTracer:
    set_mlflow_defaults()
    os.environ["MLFLOW_TRACE_SAMPLING_RATIO"] = str(settings.sampling_ratio)
    if settings.content != "full":
        # Attachments are taken out of a span before its content is masked.
        os.environ["MLFLOW_TRACE_EXTRACT_ATTACHMENTS"] = "false"
    import mlflow  # noqa: PLC0415 - it takes seconds
    import mlflow.pyfunc  # noqa: PLC0415 - the first trace would import it, on the event loop
    from mlflow.tracing.provider import get_bridged_tracer_provider  # noqa: PLC0415

    _write_in_batches()
    mlflow.set_tracking_uri(location.tracking_uri)
    mlflow.tracing.configure(span_processors=[span_processor(settings.content)])
    experiment = open_experiment(location)
    # Now, since it may ask Databricks where the experiment keeps its traces.
    get_bridged_tracer_provider()
    commit = git_commit()
    tags = {"git_commit": commit} if commit else {}
    tracer = MlflowTracer(settings.content, metadata=_model_metadata(app, commit), tags=tags)
    _log.info("Requests are traced in MLflow's experiment %s", experiment.name)
    return tracer


def _write_in_batches() -> None:
    import mlflow  # noqa: PLC0415

    if mlflow.__version__ != _KNOWN_VERSION:
        _log.warning("MLflow %s writes each trace itself; %s writes them faster", mlflow.__version__, _KNOWN_VERSION)
        return
    from agent_server.tracing.batch_exporter import install  # noqa: PLC0415

    install()


def open_experiment(location: MlflowLocation) -> Experiment:
    """Makes it the active one; made where it is missing. Raises MLflow's errors."""
    import mlflow  # noqa: PLC0415

    if location.experiment_id:
        return mlflow.set_experiment(experiment_id=location.experiment_id)
    name, database = location.experiment_name, location.tracking_uri.removeprefix("sqlite:///")
    if database != location.tracking_uri and mlflow.get_experiment_by_name(name) is None:
        # Beside the database; MLflow would make a folder wherever the server was started.
        mlflow.create_experiment(name, artifact_location=(Path(database).resolve().parent / "mlartifacts").as_uri())
    return mlflow.set_experiment(name)


def _model_metadata(app: AppEnvironment, commit: str) -> dict[str, str]:
    """Links traces to a LoggedModel of the commit, as MLflow's own agent server names it. Worth no failed start."""
    import mlflow  # noqa: PLC0415

    version = f"git-{commit[:8]}" if commit else "no-git"
    try:
        model = mlflow.set_active_model(name=f"{app.name or 'local'}-{version}")
        if commit:
            mlflow.set_logged_model_tags(model.model_id, {"git_commit": commit})
    except Exception:
        _log.warning("Traces are not linked to a version: MLflow made no model for it", exc_info=True)
        return {}
    return {"mlflow.modelId": model.model_id}
