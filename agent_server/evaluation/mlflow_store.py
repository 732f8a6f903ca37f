"""Which MLflow the commands write to."""

from __future__ import annotations

import os
from pathlib import Path

from agent_server.mlflow_config import MlflowLocation, open_experiment, set_mlflow_defaults
from agent_server.settings import AppEnvironment, load_tracing_settings

DEFAULT_STORE = Path(".data") / "mlflow.db"


def open_store(default: Path = DEFAULT_STORE) -> str:
    """Connects MLflow to what the settings name, else to a file on this machine, and returns its URI. The server that
    is started in this process uses the same. Raises `SettingsError` and MLflow's errors.
    """
    settings, app = load_tracing_settings(), AppEnvironment.read()
    location = MlflowLocation.of(settings, app)
    if location is None:
        default.parent.mkdir(parents=True, exist_ok=True)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{default.resolve()}"
        location = MlflowLocation.of(load_tracing_settings(), app)
        assert location is not None
    set_mlflow_defaults()
    import mlflow  # noqa: PLC0415 - it takes seconds

    mlflow.set_tracking_uri(location.tracking_uri)
    open_experiment(location)
    return location.tracking_uri
