"""The second tab of the page, and the job watch where it runs in this server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property

from agent_server.page.incident_decisions import IncidentDecisions
from agent_server.page.incident_people import IncidentPeople
from agent_server.page.incidents import Incidents
from agent_server.page.watch_leader import WatchLeader
from agent_server.settings import JobsTabSettings
from app.config import SettingsError
from app.databricks.jobs_api import JobsApi
from app.databricks.open_workspace import open_workspace
from app.databricks_client import DatabricksModel
from app.jobs.azure_openai_client import AzureOpenAIClient
from app.jobs.chat.job_notice import ChatNotifier
from app.jobs.decisions.completion_client import CompletionClient, ModelCompletion
from app.jobs.email_notifier import EmailNotifier
from app.jobs.environment import WatchSettings, load_watch_settings
from app.jobs.error_decision_engine import ErrorDecisionEngine
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.incidents.incident import Incident
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.mail.configured_transport import configured_transport
from app.jobs.pass_loop import Heartbeat, PassLoop, seconds_of
from app.jobs.policies import JobPolicies
from app.jobs.watching.failure_reader import Strategies
from app.jobs.watching.open_watch import TURN_QUEUE, OpenWatch, WatchStore, build_watch
from app.models.model import Model
from app.storage.factory import Storage, open_storage
from app.storage.queue import Queue

NOT_CONFIGURED = (
    "This server knows no job watch. Set JOB_WATCH_STORE to the store of one that runs elsewhere, or "
    "AGENT_SERVER_WATCH_JOBS_EVERY, for example to 5m, so that this server watches the jobs itself."
)
_LOOK_SECONDS = 15.0
"""How often an instance looks whether a pass is due."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobsTab:
    """Without `incidents`, `missing` says what to configure. `start` and `close` are the server's."""

    incidents: Incidents | None = None
    missing: str = NOT_CONFIGURED
    passes: PassLoop | None = None
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        if self.passes is not None:
            self.tasks.append(asyncio.create_task(self.passes.run()))

    async def close(self) -> None:
        """A pass at hand gets some seconds to end."""
        if self.passes is not None:
            self.passes.stop()
            await asyncio.gather(*self.tasks)
        if self.incidents is not None:
            await self.incidents.close()
        await self.closing.aclose()


def jobs_tab(settings: JobsTabSettings, environment: Mapping[str, str], storage: Storage) -> JobsTab:
    """`storage` is the server's own. Nothing is opened before its first use. Raises `SettingsError`."""
    watches_here = bool(settings.watch_every)
    if not watches_here and not environment.get("JOB_WATCH_STORE", "").strip():
        return JobsTab()
    try:
        watch_settings = load_watch_settings(environment)
        every_seconds = seconds_of(settings.watch_every) if watches_here else 0
    except SettingsError as error:
        if watches_here:
            raise
        return JobsTab(missing=f"The job watch cannot be read. {'; '.join(error.problems)}.")
    except ValueError as error:
        raise SettingsError([f"AGENT_SERVER_WATCH_JOBS_EVERY: {error}"]) from None
    closing = AsyncExitStack()
    store = _watch_store(watch_settings, storage, closing)
    workspace = watch_settings.workspace_url
    incidents = IncidentStore(store.documents, workspace=workspace)
    records = DecisionRecords(store.documents, workspace=workspace)
    policy_of = JobPolicies.from_settings(watch_settings.job_watch, watch_settings.notices).of
    people = IncidentPeople(settings.approvers, settings.viewers)
    watch = _ServerJobWatch(watch_settings, store, closing) if watches_here else None
    decisions = IncidentDecisions(
        incidents,
        records,
        policy_of,
        people,
        begin_retry=watch.begin_retry if watch is not None else None,
        notifier=ChatNotifier(store.queue) if store.queue is not None else None,
    )
    passes = None
    if watch is not None:
        leader = WatchLeader(store.documents, watch.run_pass, workspace=workspace, every_seconds=every_seconds)
        passes = PassLoop(leader.run_if_due, min(_LOOK_SECONDS, every_seconds))
    return JobsTab(Incidents(incidents, records, policy_of, people, decisions), "", passes, closing)


def _watch_store(settings: WatchSettings, storage: Storage, closing: AsyncExitStack) -> WatchStore:
    """The one that JOB_WATCH_STORE names, with the bot's queue; else the server's own, which no bot shares."""
    if settings.job_watch.store is None:
        return WatchStore(storage.documents, is_durable=True)
    where = settings.store
    if where is None:
        raise SettingsError(["JOB_WATCH_STORE: names no store"])
    elsewhere = open_storage(where)
    closing.push_async_callback(elsewhere.close)
    queue: Queue = elsewhere.open_queue(TURN_QUEUE)
    closing.push_async_callback(queue.close)
    return WatchStore(elsewhere.documents, is_durable=True, queue=queue)


class _ServerJobWatch:
    """Methods raise `WorkspaceError` and `StorageError`."""

    def __init__(self, settings: WatchSettings, store: WatchStore, closing: AsyncExitStack) -> None:
        self._settings = settings
        self._store = store
        self._closing = closing
        url = settings.job_watch.heartbeat_url
        self._heartbeat = Heartbeat(url) if url is not None else None

    async def run_pass(self) -> None:
        await self._open.run_pass()
        if self._heartbeat is not None:
            await self._heartbeat.beat()

    async def begin_retry(self, incident_id: str) -> Incident | None:
        return await self._open.begin_retry(incident_id)

    @cached_property
    def _open(self) -> OpenWatch:
        settings = self._settings
        client = open_workspace(settings.databricks)
        self._closing.push_async_callback(client.close)
        email = EmailNotifier(configured_transport(settings.mail)) if settings.mail.is_configured else None
        calls_per_hour = settings.job_watch.model_calls_per_hour
        engine = ErrorDecisionEngine(self._completion_client(), max_calls_per_hour=calls_per_hour)
        opened = build_watch(settings, JobsApi(client), self._store, Strategies(engine), email=email)
        for note in opened.notes:
            _log.warning("The job watch: %s", note)
        return opened

    def _completion_client(self) -> CompletionClient | None:
        if self._settings.azure_openai.is_configured:
            return AzureOpenAIClient(self._settings.azure_openai)
        name = self._settings.databricks.model_name
        return ModelCompletion(self._open_model, name) if name else None

    @asynccontextmanager
    async def _open_model(self) -> AsyncIterator[Model]:
        databricks = self._settings.databricks
        client = open_workspace(databricks)
        model = DatabricksModel(databricks.model_name, client, api=databricks.api)
        try:
            yield model
        finally:
            await model.close()
            await client.close()
