"""The job watch for notebooks, jobs, cron and containers: one call is one pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.jobs.azure_openai_client import AzureOpenAIClient
from app.jobs.databricks_connector import DatabricksConnector
from app.jobs.email_notifier import EmailNotifier
from app.jobs.error_decision_engine import ErrorDecisionEngine
from app.jobs.history.fine_tuning import FineTuning, FineTuningError, Status
from app.jobs.history.training_data import TrainingData, prepare_training_data
from app.jobs.synchronous import run_synchronously
from app.jobs.watching.failure_reader import Strategies
from app.jobs.watching.open_watch import build_watch, open_store
from app.jobs.watching.pass_summary import pass_summary
from app.models.openai_import import import_openai

if TYPE_CHECKING:
    import openai


class DatabricksAgent:
    """Without an `email_notifier` nothing is mailed. `observed_decision_engine` decides beside the first and never
    acts: the history compares them. `clock` is in seconds since 1970.

    Each `_async` method has a synchronous one beside it, which also works where an event loop runs.
    """

    def __init__(
        self,
        azure_openai_client: AzureOpenAIClient | None = None,
        databricks_connector: DatabricksConnector | None = None,
        email_notifier: EmailNotifier | None = None,
        error_decision_engine: ErrorDecisionEngine | None = None,
        *,
        observed_decision_engine: ErrorDecisionEngine | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._azure_openai = azure_openai_client
        self._connector = databricks_connector or DatabricksConnector()
        self._email = email_notifier
        self._engine = error_decision_engine or ErrorDecisionEngine(
            azure_openai_client or AzureOpenAIClient(),
            max_calls_per_hour=self._connector.settings.job_watch.model_calls_per_hour,
        )
        self._observed = observed_decision_engine
        self._clock = clock

    async def monitor_jobs_async(
        self, job_ids: Sequence[int] | None = None, escalation_emails: Sequence[str] = ()
    ) -> dict[str, Any]:
        """One pass over `job_ids`, or else over the jobs that the settings name, or all that are visible.

        Its summary: `actions` has one flat row for each of retried, retried_with_params, escalated, skipped and
        proposed; `decisions` one for each failed run, of the columns of `app.jobs.DECISION_SCHEMA`; `notes` has
        sentences about what could not be watched or done. Raises `WorkspaceError` and `StorageError`.
        """
        settings = self._connector.settings
        async with self._connector.open() as workspace, open_store(settings) as store:
            opened = build_watch(
                settings,
                workspace.jobs,
                store,
                Strategies(self._engine, self._observed),
                email=self._email,
                escalation_emails=escalation_emails,
                job_ids=job_ids,
                clock=self._clock,
            )
            result = await opened.run_pass()
            summary = pass_summary(result, workspace=workspace.name, recipients=opened.mailed)
            return {**summary, "notes": [*opened.notes, *summary["notes"]]}

    def monitor_jobs(
        self, job_ids: Sequence[int] | None = None, escalation_emails: Sequence[str] = ()
    ) -> dict[str, Any]:
        return run_synchronously(lambda: self.monitor_jobs_async(job_ids, escalation_emails))

    async def prepare_training_data_async(self, run_history_file: str | Path, output_file: str | Path) -> TrainingData:
        """Makes chat examples of what `job-watch history --format json` wrote. Raises `TrainingDataError`."""
        return await asyncio.to_thread(prepare_training_data, run_history_file, output_file)

    async def fine_tune_error_model_async(
        self, training_data_path: str | Path, model_name: str, suffix: str = ""
    ) -> str:
        """The id of the fine-tuning job that was begun in Azure OpenAI. Raises `FineTuningError`."""
        return await self._fine_tuning().start_async(training_data_path, model_name, suffix)

    async def get_fine_tune_status_async(self, job_id: str) -> Status:
        """Strings and integers alone, `status` and `message` among them. Raises `FineTuningError`."""
        return await self._fine_tuning().status_async(job_id)

    async def cancel_fine_tuning_async(self, job_id: str) -> Status:
        """Raises `FineTuningError`."""
        return await self._fine_tuning().cancel_async(job_id)

    def prepare_training_data(self, run_history_file: str | Path, output_file: str | Path) -> TrainingData:
        return prepare_training_data(run_history_file, output_file)

    def fine_tune_error_model(self, training_data_path: str | Path, model_name: str, suffix: str = "") -> str:
        return run_synchronously(lambda: self.fine_tune_error_model_async(training_data_path, model_name, suffix))

    def get_fine_tune_status(self, job_id: str) -> Status:
        return run_synchronously(lambda: self.get_fine_tune_status_async(job_id))

    def cancel_fine_tuning(self, job_id: str) -> Status:
        return run_synchronously(lambda: self.cancel_fine_tuning_async(job_id))

    def _fine_tuning(self) -> FineTuning:
        azure = self._azure_openai or AzureOpenAIClient()
        if not azure.base_url:
            raise FineTuningError("Fine-tuning is done by Azure OpenAI: put AZURE_OPENAI_ENDPOINT.")

        def open_client() -> openai.AsyncOpenAI:
            client: openai.AsyncOpenAI = import_openai().AsyncOpenAI(base_url=azure.base_url, api_key=azure.token)
            return client

        return FineTuning(open_client)
