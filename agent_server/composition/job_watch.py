"""The second tab of the page, and the job watch where it runs in this server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from agent_server.protocol.api_error import ApiError
from agent_server.settings import JobsTabSettings
from app.config import SettingsError
from app.storage.factory import Storage

if TYPE_CHECKING:
    from agent_server.composition.open_job_watch import OpenJobWatch
    from agent_server.page.incidents import Incidents
    from app.jobs.environment import WatchSettings

NOT_CONFIGURED: Final = (
    "This server knows no job watch. Set JOB_WATCH_STORE to the store of one that runs elsewhere, or "
    "AGENT_SERVER_WATCH_JOBS_EVERY, for example to 5m, so that this server watches the jobs itself."
)
_log = logging.getLogger(__name__)


class JobsTab:
    """`missing` says what to configure, and is empty where all is. What it works with takes a second to import: a
    thread does that when the tab or a pass first needs it.
    """

    def __init__(
        self,
        settings: JobsTabSettings,
        storage: Storage,
        watch_settings: WatchSettings | None = None,
        every_seconds: float | None = None,
        missing: str = "",
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._watch_settings = watch_settings
        self._every_seconds = every_seconds
        self.missing = missing
        self._opening = asyncio.Lock()
        self._opened: OpenJobWatch | None = None
        self._watching: asyncio.Task[None] | None = None

    async def incidents(self) -> Incidents:
        """Raises `ApiError` where none is configured."""
        return (await self._open()).incidents

    def start(self) -> None:
        if self._every_seconds is not None:
            self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """A pass at hand gets some seconds to end."""
        if self._opened is not None and self._opened.passes is not None:
            self._opened.passes.stop()
        elif self._watching is not None:
            self._watching.cancel()
        if self._watching is not None:
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._opened is not None:
            await self._opened.close()

    async def _watch(self) -> None:
        opened = await self._open()
        assert opened.passes is not None
        try:
            await opened.passes.run()
        except Exception:
            _log.exception("The job watch of this server has ended")

    async def _open(self) -> OpenJobWatch:
        settings = self._watch_settings
        if settings is None:
            raise ApiError(404, self.missing, code="jobs_not_configured")
        async with self._opening:
            if self._opened is None:
                self._opened = await asyncio.to_thread(self._opened_now, settings)
            return self._opened

    def _opened_now(self, settings: WatchSettings) -> OpenJobWatch:
        from agent_server.composition.open_job_watch import open_job_watch  # noqa: PLC0415
        from agent_server.page.incident_people import IncidentPeople  # noqa: PLC0415

        people = IncidentPeople(self._settings.approvers, self._settings.viewers)
        return open_job_watch(people, settings, self._every_seconds, self._storage)


def jobs_tab(settings: JobsTabSettings, environment: Mapping[str, str], storage: Storage) -> JobsTab:
    """`storage` is the server's own. Nothing is opened yet. Raises `SettingsError`."""
    watches_here = bool(settings.watch_every)
    if not watches_here and not environment.get("JOB_WATCH_STORE", "").strip():
        return JobsTab(settings, storage, missing=NOT_CONFIGURED)
    from app.jobs.environment import load_watch_settings  # noqa: PLC0415 - many servers watch no jobs
    from app.jobs.pass_loop import seconds_of  # noqa: PLC0415

    try:
        watch_settings = load_watch_settings(environment)
    except SettingsError as error:
        if watches_here:
            raise
        return JobsTab(settings, storage, missing=f"The job watch cannot be read. {'; '.join(error.problems)}.")
    try:
        every_seconds = float(seconds_of(settings.watch_every)) if watches_here else None
    except ValueError as error:
        raise SettingsError([f"AGENT_SERVER_WATCH_JOBS_EVERY: {error}"]) from None
    return JobsTab(settings, storage, watch_settings, every_seconds)
