"""Where ratings count: MLflow in the workspace, or wherever the traces are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from agent_server.mlflow_config import MlflowLocation
from agent_server.settings import AppEnvironment, load_tracing_settings
from app.composition.core import Core
from app.config import SettingsError
from app.storage.documents import DocumentStore

if TYPE_CHECKING:
    from app.feedback.ratings import Ratings


def feedback_ratings(
    core: Core | None,
    documents: DocumentStore,
    app: AppEnvironment,
    retention_days: float,
    environment: Mapping[str, str],
) -> Callable[[], Ratings]:
    """Called, it returns the same ratings every time, made when the first one comes."""
    if core is not None and _is_traced_in_workspace(app, environment):
        return core.ratings

    @cache
    def ratings() -> Ratings:
        from agent_server.tracing.store_assessments import StoreAssessments  # noqa: PLC0415
        from app.feedback.ratings import Ratings  # noqa: PLC0415

        return Ratings(documents, StoreAssessments(), None, retention_days=retention_days)

    return ratings


def _is_traced_in_workspace(app: AppEnvironment, environment: Mapping[str, str]) -> bool:
    try:
        location = MlflowLocation.of(load_tracing_settings(environment), app)
    except SettingsError:
        # Nothing is traced then: what the model itself has traced is in the workspace.
        return True
    return location is None or location.tracking_uri.startswith("databricks")
