"""The job watch of the Functions host, around what its core keeps open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import cached_property

from app.composition.completion_client import completion_client
from app.composition.core import Core
from app.databricks.jobs_api import JobsApi
from app.jobs.email_notifier import EmailNotifier
from app.jobs.environment import WatchSettings
from app.jobs.error_decision_engine import ErrorDecisionEngine
from app.jobs.incidents.incident import Incident
from app.jobs.mail.configured_transport import configured_transport
from app.jobs.watching.failure_reader import Strategies
from app.jobs.watching.job_watch import PassResult
from app.jobs.watching.open_watch import OpenWatch, WatchStore, build_watch


class FunctionsJobWatch:
    """Passes one at a time: timers and notifications may come together. Methods raise `WorkspaceError` and
    `StorageError`. `clock` is in seconds since 1970.
    """

    def __init__(self, core: Core, settings: WatchSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._core = core
        self._settings = settings
        self._clock = clock
        self._passing = asyncio.Lock()

    async def run_pass(self) -> PassResult:
        async with self._passing:
            return await self._open.run_pass()

    async def run_pass_for(self, run_id: int) -> PassResult:
        async with self._passing:
            return await self._open.run_pass_for(run_id)

    async def begin_retry(self, incident_id: str) -> Incident | None:
        return await self._open.begin_retry(incident_id)

    @cached_property
    def _open(self) -> OpenWatch:
        core, settings = self._core, self._settings
        email = EmailNotifier(configured_transport(settings.mail)) if settings.mail.is_configured else None
        return build_watch(
            settings,
            JobsApi(core.job_workspace),
            WatchStore(core.storage.documents, is_durable=True, queue=core.queue),
            Strategies(
                ErrorDecisionEngine(
                    completion_client(core, settings),
                    clock=self._clock,
                    max_calls_per_hour=settings.job_watch.model_calls_per_hour,
                )
            ),
            email=email,
            clock=self._clock,
        )
