"""A job watch with all that it needs: built from the settings for one pass, or around what a host keeps open."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from app.databricks.jobs_api import JobsApi
from app.jobs.chat.chat_digests import ChatDigests
from app.jobs.chat.job_notice import ChatNotifier
from app.jobs.chat.job_viewers import policy_for
from app.jobs.chat.watches import Watches
from app.jobs.email_notifier import EmailNotifier
from app.jobs.environment import WatchSettings
from app.jobs.error_decision_engine import ErrorDecisionEngine
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.history.similar_incidents import SimilarIncidents
from app.jobs.incidents.incident import Incident
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.incidents.runs_with_failures import RunsWithFailures
from app.jobs.job_policy import PolicyOf, WatchMode
from app.jobs.notifications.configured_targets import notice_outboxes
from app.jobs.notifications.notice_delivery import NoticeOutbox, deliver_due
from app.jobs.notifications.notice_timing import QuietHoursOf, held_until
from app.jobs.notifications.notifier import Notice
from app.jobs.policies import JobPolicies
from app.jobs.quiet_hours import QuietHours
from app.jobs.repairs.job_repairs import JobRepairs
from app.jobs.runs.run_evidence import RunEvidence
from app.jobs.runs.run_watch import RunWatch
from app.jobs.runs.watched_jobs import JobSelection
from app.jobs.watching.daily_digest import DailyDigest
from app.jobs.watching.failure_reader import FailureReader, Strategies, Strategy, lower_mode
from app.jobs.watching.incident_retries import IncidentRetries
from app.jobs.watching.job_watch import JobWatch, PassResult
from app.jobs.watching.mail_notifier import MailNotifier
from app.storage.documents import DocumentStore
from app.storage.factory import open_storage
from app.storage.queue import Queue
from app.storage.storage_errors import StorageError

TURN_QUEUE: Final = "turns"
"""The bot's queue, in the store that it shares with passes elsewhere."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WatchStore:
    """`is_durable`: it outlives the process. `queue` is the bot's, None where there is none to share."""

    documents: DocumentStore
    is_durable: bool
    queue: Queue | None = None


@dataclass(frozen=True, slots=True)
class OpenWatch:
    """`mailed`: whom this watch mailed, by incident. `notes` are sentences about what the settings ask for and cannot
    have.
    """

    watch: JobWatch
    incidents: IncidentStore
    records: DecisionRecords
    mailed: Mapping[str, Sequence[str]]
    email: EmailNotifier | None
    outboxes: tuple[NoticeOutbox, ...] = ()
    digest: DailyDigest | None = None
    notes: tuple[str, ...] = ()

    async def run_pass(self) -> PassResult:
        """Raises `WorkspaceError` and `StorageError`."""
        try:
            result = await self.watch.run_pass()
            await self._make_digest()
            return result
        finally:
            await self.deliver_due()

    async def run_pass_for(self, run_id: int) -> PassResult:
        """Raises `WorkspaceError` and `StorageError`."""
        try:
            return await self.watch.run_pass_for(run_id)
        finally:
            await self.deliver_due()

    async def begin_retry(self, incident_id: str) -> Incident | None:
        """Begins what was approved, and tells it. Raises `WorkspaceError` and `StorageError`."""
        try:
            return await self.watch.begin_retry(incident_id)
        finally:
            await self.deliver_due()

    async def deliver_due(self) -> None:
        """What mail servers and other services are to be told now, also from passes before. Raises `StorageError`."""
        if self.email is not None:
            await self.email.deliver_due_async()
        await deliver_due(self.outboxes)

    async def _make_digest(self) -> None:
        if self.digest is not None:
            try:
                await self.digest.put_if_due()
            except StorageError as error:
                _log.warning("The digest cannot be made now; the next pass tries again", exc_info=error)


@asynccontextmanager
async def open_store(settings: WatchSettings) -> AsyncIterator[WatchStore]:
    """That of the settings, or one that is gone at the end."""
    async with AsyncExitStack() as closing:
        where = settings.store
        if where is None:
            folder = closing.enter_context(tempfile.TemporaryDirectory(prefix="job-watch-"))
            storage = open_storage(Path(folder) / "job_watch.sqlite")
            closing.push_async_callback(storage.close)
            yield WatchStore(storage.documents, is_durable=False)
            return
        storage = open_storage(where)
        closing.push_async_callback(storage.close)
        queue = storage.open_queue(TURN_QUEUE)
        closing.push_async_callback(queue.close)
        yield WatchStore(storage.documents, is_durable=True, queue=queue)


def _counted(strategies: Strategies, documents: DocumentStore) -> Strategies:
    """Their calls of a model count in the store: each pass may be a process of its own."""

    def counted(strategy: Strategy) -> Strategy:
        return strategy.with_documents(documents) if isinstance(strategy, ErrorDecisionEngine) else strategy

    observed = strategies.observed
    return Strategies(counted(strategies.primary), None if observed is None else counted(observed))


def build_watch(
    settings: WatchSettings,
    api: JobsApi,
    store: WatchStore,
    strategies: Strategies,
    *,
    email: EmailNotifier | None = None,
    escalation_emails: Sequence[str] = (),
    job_ids: Sequence[int] | None = None,
    clock: Callable[[], float] = time.time,
) -> OpenWatch:
    """`job_ids` are watched instead of those that the settings name; `escalation_emails` are mailed besides those."""
    workspace = settings.workspace_url
    policies = JobPolicies.from_settings(settings.job_watch, settings.notices)
    most_mode = WatchMode.AUTO if store.is_durable else WatchMode.OBSERVE
    incidents = IncidentStore(store.documents, workspace=workspace)
    records = DecisionRecords(store.documents, workspace=workspace)
    watches = Watches(store.documents, workspace=workspace)
    with_failures = RunsWithFailures(store.documents, workspace=workspace)

    def quiet_hours(incident: Incident) -> QuietHours | None:
        return policy_for(incident, policies.of).quiet_hours

    chats = None
    if store.queue is not None:
        chats = _WatchedChats(watches, store.queue, quiet_hours, clock)
    outboxes = notice_outboxes(settings.notices, store.documents, quiet_hours=quiet_hours, clock=clock)
    mail = None
    if email is not None:
        email = email.with_documents(store.documents) if store.is_durable else email
        recipients_of = _recipients(policies.of, escalation_emails)
        mail = MailNotifier(email, recipients_of, records, is_told_in_chat=chats.has_any if chats else _nobody)
    repairs = JobRepairs(api, store.documents, workspace=workspace, clock=clock)
    reader = FailureReader(
        RunEvidence(api, workspace),
        _counted(strategies, store.documents) if store.is_durable else strategies,
        repairs,
        incidents,
        records,
        policies.of,
        SimilarIncidents(records, clock=clock).similar_to,
        breaker_jobs=settings.job_watch.breaker_jobs,
        most_mode=most_mode,
    )
    watch = JobWatch(
        RunWatch(
            api,
            store.documents,
            workspace=workspace,
            jobs=_selection(settings, job_ids),
            policy_of=policies.of,
            clock=clock,
        ),
        reader,
        IncidentRetries(repairs, incidents, records, clock=clock),
        incidents,
        records,
        policies.of,
        [each for each in (chats, mail, *outboxes) if each is not None],
        workspace=workspace,
        most_mode=most_mode,
        mode=lower_mode(policies.default.mode, most_mode),
        runs_with_failures=with_failures,
        clock=clock,
    )
    digest = None
    if settings.notices.digest_at is not None and store.is_durable:
        digest = DailyDigest(
            store.documents,
            incidents,
            records,
            with_failures,
            outboxes,
            workspace=workspace,
            at=settings.notices.digest_at,
            zone=ZoneInfo(settings.notices.time_zone),
            chats=None if store.queue is None else ChatDigests(watches, store.queue),
            email=email,
            recipients=tuple(dict.fromkeys([*escalation_emails, *policies.default.escalation_emails])),
            clock=clock,
        )
    return OpenWatch(
        watch,
        incidents,
        records,
        {} if mail is None else mail.mailed,
        email,
        outboxes,
        digest,
        (
            *_not_possible(policies, store, has_digest=bool(settings.notices.digest_time)),
            *_not_mailed(policies, email, escalation_emails),
        ),
    )


class _WatchedChats:
    """A `Notifier` of the chats that watch the job: a queue without a bot would only grow."""

    name = ChatNotifier.name

    def __init__(
        self,
        watches: Watches,
        queue: Queue,
        quiet: QuietHoursOf,
        clock: Callable[[], float],
    ) -> None:
        self._watches = watches
        self._notifier = ChatNotifier(queue)
        self._quiet = quiet
        self._clock = clock

    async def notify(self, notice: Notice) -> None:
        if await self.has_any(notice.incident):
            now = self._clock()
            await self._notifier.notify(notice, after_seconds=held_until(notice, self._quiet, now) - now)

    async def has_any(self, incident: Incident) -> bool:
        return bool(await self._watches.of_jobs(frozenset(incident.job_ids)))


async def _nobody(_: Incident) -> bool:
    return False


def _recipients(policy_of: PolicyOf, more: Sequence[str]) -> Callable[[Incident], Sequence[str]]:
    def recipients_of(incident: Incident) -> Sequence[str]:
        policy = policy_of(incident.job_id, incident.job_name, incident.job_tags)
        return tuple(dict.fromkeys([*more, *policy.escalation_emails]))

    return recipients_of


def _selection(settings: WatchSettings, job_ids: Sequence[int] | None) -> JobSelection:
    if job_ids is not None:
        return JobSelection(ids=tuple(job_ids))
    watch = settings.job_watch
    return JobSelection(ids=watch.ids, name_pattern=watch.name_pattern, tag=watch.tag)


def _not_mailed(policies: JobPolicies, email: EmailNotifier | None, escalation_emails: Sequence[str]) -> list[str]:
    to_be_mailed = [*escalation_emails, *policies.default.escalation_emails]
    has_recipients = bool(to_be_mailed) or any(each.emails for each in policies.by_key.values())
    if has_recipients and email is None:
        return ["Nothing is mailed: put SMTP_SERVER and SENDER_EMAIL."]
    if email is not None and not has_recipients:
        return ["Nobody is mailed: put JOB_ESCALATION_EMAILS."]
    return []


def _not_possible(policies: JobPolicies, store: WatchStore, *, has_digest: bool) -> list[str]:
    modes = {policies.default.mode, *(WatchMode(each.mode) for each in policies.by_key.values() if each.mode)}
    refused = sorted(modes - {WatchMode.OBSERVE})
    if store.is_durable:
        return []
    notes = []
    if refused:
        verb = "needs" if len(refused) == 1 else "need"
        notes.append(
            f"JOB_WATCH_MODE {' and '.join(refused)} {verb} a store that outlives the process: put JOB_WATCH_STORE. "
            "Until then this pass only observes."
        )
    if has_digest:
        notes.append("JOB_DIGEST_AT needs a store that outlives the process: put JOB_WATCH_STORE.")
    return notes
