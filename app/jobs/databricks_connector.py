"""The Databricks workspace whose jobs are watched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from app.databricks.jobs_api import JobsApi
from app.databricks.open_workspace import open_workspace
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_errors import WorkspaceError
from app.databricks_client import DatabricksModel
from app.jobs.environment import WatchSettings, load_watch_settings
from app.jobs.runs.run_evidence import RunEvidence
from app.jobs.runs.run_failure import RunFailure
from app.jobs.synchronous import run_synchronously


@dataclass(frozen=True, slots=True)
class OpenWorkspace:
    """`name` is that under which the store knows the workspace."""

    name: str
    client: WorkspaceClient
    jobs: JobsApi


class DatabricksConnector:
    """Without `settings` those of the process, with its `.env` file: `DATABRICKS_HOST` and `DATABRICKS_TOKEN`, or any
    other credential that docs/settings.md names. Raises `app.config.SettingsError`.

    Each `_async` method has a synchronous one beside it, which also works where an event loop runs. Connections are
    opened by each call and closed with it. Methods raise `WorkspaceError`.
    """

    def __init__(self, settings: WatchSettings | None = None) -> None:
        self.settings = settings or load_watch_settings()

    @property
    def workspace(self) -> str:
        return self.settings.workspace_url

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenWorkspace]:
        client = open_workspace(self.settings.databricks)
        try:
            yield OpenWorkspace(self.workspace, client, JobsApi(client))
        finally:
            await client.close()

    @asynccontextmanager
    async def open_model(self) -> AsyncIterator[DatabricksModel]:
        """The serving endpoint `DATABRICKS_MODEL_NAME`."""
        async with self.open() as workspace:
            databricks = self.settings.databricks
            model = DatabricksModel(databricks.model_name, workspace.client, api=databricks.api)
            try:
                yield model
            finally:
                await model.close()

    async def list_jobs_async(self) -> list[dict[str, Any]]:
        """Every job that may be seen, as the Jobs API tells of it, without its tasks."""
        async with self.open() as workspace:
            return [dict(job) async for job in workspace.jobs.jobs()]

    async def failure_async(self, run_id: int) -> RunFailure | None:
        """Why the run failed, with its evidence; None where it has not ended, or succeeded."""
        async with self.open() as workspace:
            return await RunEvidence(workspace.jobs, workspace.name).failure(run_id)

    async def test_connection_async(self) -> bool:
        """Whether the workspace lists its jobs to us; `WorkspaceError`s are told as False."""
        try:
            async with self.open() as workspace:
                async for _ in workspace.jobs.jobs():
                    break
        except WorkspaceError:
            return False
        return True

    def list_jobs(self) -> list[dict[str, Any]]:
        return run_synchronously(self.list_jobs_async)

    def failure(self, run_id: int) -> RunFailure | None:
        return run_synchronously(lambda: self.failure_async(run_id))

    def test_connection(self) -> bool:
        return run_synchronously(self.test_connection_async)
