"""Makes what keeps ratings and tells them to MLflow and Genie, when the first one comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.config import CoreSettings
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_url import WorkspaceUrl
from app.storage.documents import DocumentStore

if TYPE_CHECKING:
    from app.feedback.ratings import Ratings


class LazyRatings:
    """Called, it returns the same ratings every time."""

    def __init__(self, settings: CoreSettings, workspace: WorkspaceClient, documents: DocumentStore) -> None:
        self._settings = settings
        self._workspace = workspace
        self._documents = documents
        self._elsewhere: list[WorkspaceClient] = []
        self._ratings: Ratings | None = None

    def __call__(self) -> Ratings:
        if self._ratings is None:
            self._ratings = self._make()
        return self._ratings

    async def close(self) -> None:
        for client in self._elsewhere:
            # The credential is the workspace's own.
            await client.http.close()

    def _make(self) -> Ratings:
        from app.databricks.genie_api import GenieApi  # noqa: PLC0415
        from app.databricks.mlflow_assessments import MlflowAssessments  # noqa: PLC0415
        from app.feedback.ratings import Ratings  # noqa: PLC0415

        settings, workspace = self._settings, self._workspace
        traces = self._client(settings.databricks.mlflow_base_url)
        return Ratings(
            self._documents,
            MlflowAssessments(traces, warehouse_id=settings.sql.warehouse_id or ""),
            GenieApi(self._client(settings.genie.base_url), workspace),
            retention_days=settings.storage.retention_days,
        )

    def _client(self, base_url: str) -> WorkspaceClient:
        if not base_url:
            return self._workspace
        self._elsewhere.append(WorkspaceClient(WorkspaceUrl.parse(base_url), self._workspace.credential))
        return self._elsewhere[-1]
