"""What starts a pass of the job watch in the Function App: the clock, and Databricks' notifications of jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from http import HTTPStatus
from typing import Final, Protocol

from pydantic import ValidationError

from app.databricks.workspace_errors import WorkspaceError
from app.http import HttpAnswer
from app.jobs.pass_loop import Heartbeat
from app.jobs.runs.notification_endpoint import NotificationEndpoint
from app.messaging.job_messages import JOB_RUN_KIND
from app.settings.job_watch_settings import NO_TIMER, JobWatchSettings
from app.storage.queue import Queue
from app.telemetry.telemetry import Telemetry
from app.turns.queue_dispatcher import QueueDispatcher
from app.turns.queue_message import Envelope, UnreadableMessageError, wrong_fields

PASS_SECONDS: Final = 540.0
"""Below functionTimeout in host.json."""

_log = logging.getLogger(__name__)


class JobPasses(Protocol):
    async def run_pass(self) -> object:
        """Raises `WorkspaceError` and `StorageError`."""
        ...

    async def run_pass_for(self, run_id: int) -> object:
        """A pass over one run. Raises as `run_pass` does."""
        ...

    async def begin_retry(self, incident_id: str) -> object:
        """Begins what a person approved. Raises as `run_pass` does."""
        ...


class _RunMessage(Envelope):
    run_id: int


class JobTriggers:
    """`passes` is called at the first trigger: making them imports what no answer to a person needs."""

    def __init__(
        self, settings: JobWatchSettings, passes: Callable[[], JobPasses], queue: Queue, telemetry: Telemetry
    ) -> None:
        self._make_passes = passes
        self.schedule = None if settings.schedule == NO_TIMER else settings.schedule
        self._telemetry = telemetry
        self._heartbeat = Heartbeat(settings.heartbeat_url) if settings.heartbeat_url is not None else None
        password = settings.notification_password
        self._endpoint = (
            NotificationEndpoint(settings.notification_username, password, queue) if password is not None else None
        )

    def register(self, dispatcher: QueueDispatcher) -> None:
        dispatcher.register(JOB_RUN_KIND, self._look_at_run)

    async def run_pass(self) -> None:
        """Raises `WorkspaceError`, `StorageError`, and `TimeoutError` where the pass takes too long."""
        await self._telemetry.job_watch_pass(_limited(self._passes.run_pass()))
        if self._heartbeat is not None:
            await self._heartbeat.beat()

    async def begin_retry(self, incident_id: str) -> None:
        """Begins what a person approved. Raises `WorkspaceError` and `StorageError`."""
        await _limited(self._passes.begin_retry(incident_id))

    async def receive_notification(self, method: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """404 where no credentials are set."""
        if self._endpoint is None:
            return HttpAnswer(HTTPStatus.NOT_FOUND)
        return await self._endpoint.receive(method, headers, body)

    @cached_property
    def _passes(self) -> JobPasses:
        return self._make_passes()

    async def _look_at_run(self, body: bytes) -> None:
        try:
            message = _RunMessage.model_validate_json(body)
        except ValidationError as error:
            raise UnreadableMessageError(wrong_fields(error)) from None
        try:
            await _limited(self._passes.run_pass_for(message.run_id))
        except (WorkspaceError, TimeoutError) as error:
            # A notification is only a hint: delivered again it would end among the messages that cannot be processed.
            _log.warning("A notified run could not be looked at; the next pass finds it", exc_info=error)


async def _limited(passing: Awaitable[object]) -> None:
    async with asyncio.timeout(PASS_SECONDS):
        await passing
