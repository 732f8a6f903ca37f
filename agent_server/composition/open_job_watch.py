"""The job watch of this server, or what another one has stored. Imported when the tab or a pass first needs it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property

from agent_server.page.incident_decisions import IncidentDecisions
from agent_server.page.incident_people import IncidentPeople
from agent_server.page.incidents import Incidents
from agent_server.page.watch_leader import WatchLeader
from app.config import SettingsError
from app.databricks.jobs_api import JobsApi
from app.databricks.open_workspace import open_workspace
from app.databricks_client import DatabricksModel
from app.jobs.azure_openai_client import AzureOpenAIClient
from app.jobs.chat.job_notice import ChatNotifier
from app.jobs.decisions.completion_client import CompletionClient, ModelCompletion
from app.jobs.email_notifier import EmailNotifier
from app.jobs.environment import WatchSettings
from app.jobs.error_decision_engine import ErrorDecisionEngine
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.incidents.incident import Incident
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.mail.configured_transport import configured_transport
from app.jobs.pass_loop import Heartbeat, PassLoop
from app.jobs.policies import JobPolicies
from app.jobs.watching.failure_reader import Strategies
from app.jobs.watching.open_watch import TURN_QUEUE, OpenWatch, WatchStore, build_watch
from app.models.model import Model
from app.storage.factory import Storage, open_storage

_LOOK_SECONDS = 15.0
"""How often an instance looks whether a pass is due."""
_STOP_SECONDS = 5.0
"""A server that is told to stop has seven for all it hands over."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenJobWatch:
    """`passes` is None where another process watches."""

    incidents: Incidents
    passes: PassLoop | None
    closing: AsyncExitStack

    async def close(self) -> None:
        await self.incidents.close()
        await self.closing.aclose()


def open_job_watch(
    people: IncidentPeople, settings: WatchSettings, every_seconds: float | None, storage: Storage
) -> OpenJobWatch:
    """Watches every `every_seconds`, or only reads and decides. `storage` is the server's own."""
    closing = AsyncExitStack()
    store = _watch_store(settings, storage, closing)
    workspace = settings.workspace_url
    incidents = IncidentStore(store.documents, workspace=workspace)
    records = DecisionRecords(store.documents, workspace=workspace)
    policy_of = JobPolicies.from_settings(settings.job_watch, settings.notices).of
    watch = _ServerJobWatch(settings, store, closing) if every_seconds is not None else None
    decisions = IncidentDecisions(
        incidents,
        records,
        policy_of,
        people,
        begin_retry=watch.begin_retry if watch is not None else None,
        notifier=ChatNotifier(store.queue) if store.queue is not None else None,
    )
    passes = None
    if watch is not None and every_seconds is not None:
        leader = WatchLeader(store.documents, watch.run_pass, workspace=workspace, every_seconds=every_seconds)
        passes = PassLoop(leader.run_if_due, min(_LOOK_SECONDS, every_seconds), stop_seconds=_STOP_SECONDS)
    return OpenJobWatch(Incidents(incidents, records, policy_of, people, decisions), passes, closing)


def _watch_store(settings: WatchSettings, storage: Storage, closing: AsyncExitStack) -> WatchStore:
    """The one that JOB_WATCH_STORE names, with the bot's queue; else the server's own, which no bot shares."""
    if settings.job_watch.store is None:
        return WatchStore(storage.documents, is_durable=True)
    where = settings.store
    if where is None:
        raise SettingsError(["JOB_WATCH_STORE: names no store"])
    elsewhere = open_storage(where)
    closing.push_async_callback(elsewhere.close)
    queue = elsewhere.open_queue(TURN_QUEUE)
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
