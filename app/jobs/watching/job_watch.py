"""A pass of the job watch. It may be killed anywhere, and run at the same time by another process: a further pass finds
what is left, and nothing is handled twice.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from app.common.concurrency import gather_or_cancel
from app.databricks.workspace_errors import WorkspaceError
from app.jobs.history.decision_record import DecisionRecord
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.incidents.incident import Incident, IncidentState
from app.jobs.incidents.incident_store import MAX_RUNS, IncidentStore
from app.jobs.incidents.runs_with_failures import RunsWithFailures
from app.jobs.job_policy import PolicyOf, WatchMode
from app.jobs.notifications.notifier import Notice, Notifier, NotifyError
from app.jobs.runs.look import EndedRun, Look
from app.jobs.runs.run_watch import RunWatch
from app.jobs.watching.failure_reader import FailureReader, retried_incident
from app.jobs.watching.found_failure import FoundFailure
from app.jobs.watching.incident_opening import new_incident, with_failed_retry, with_notice, with_repeat
from app.jobs.watching.incident_retries import IncidentRetries
from app.jobs.watching.new_records import new_records
from app.jobs.watching.timing_incidents import late_incident, long_run_incident

_DUE_AT_ONCE = 200
_MAX_CONCURRENT_INCIDENTS = 8
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PassResult:
    """`records` are the decisions of this pass, by runs; `incidents` those that it opened or changed. `notes` are
    sentences about what could not be watched or done.
    """

    pass_id: str
    at_seconds: float
    mode: WatchMode
    records: tuple[DecisionRecord, ...]
    incidents: tuple[Incident, ...]
    notes: tuple[str, ...]
    with_failures: int = 0


@dataclass(slots=True)
class _Pass:
    id: str
    records: list[DecisionRecord] = field(default_factory=list)
    incidents: dict[str, Incident] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, incident: Incident | None) -> None:
        if incident is not None:
            self.incidents[incident.id] = incident


class JobWatch:
    """`clock` is in seconds since 1970. `most_mode` is what the pass may do at most, whatever the policies say; `mode`
    is that of jobs without a policy of their own. `runs_with_failures` are remembered for a digest.
    """

    def __init__(
        self,
        watch: RunWatch,
        reader: FailureReader,
        retries: IncidentRetries,
        incidents: IncidentStore,
        records: DecisionRecords,
        policy_of: PolicyOf,
        notifiers: Sequence[Notifier],
        *,
        workspace: str,
        most_mode: WatchMode,
        mode: WatchMode = WatchMode.OBSERVE,
        runs_with_failures: RunsWithFailures | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._watch = watch
        self._reader = reader
        self._retries = retries
        self._incidents = incidents
        self._records = records
        self._policy_of = policy_of
        self._notifiers = notifiers
        self._workspace = workspace
        self._most_mode = most_mode
        self._mode = mode
        self._runs_with_failures = runs_with_failures
        self._clock = clock
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT_INCIDENTS)
        self._retried = asyncio.Lock()

    async def run_pass(self) -> PassResult:
        """Raises `WorkspaceError` where the workspace cannot be read, and `StorageError`."""
        return await self._run(await self._watch.look())

    async def run_pass_for(self, run_id: int) -> PassResult:
        """A pass over one run, such as one that a notification named. Raises as `run_pass` does."""
        return await self._run(await self._watch.look_at(run_id))

    async def _run(self, look: Look) -> PassResult:
        this = _Pass(uuid.uuid4().hex[:12])
        this.notes += look.notes
        read = await self._reader.read(look)
        await gather_or_cancel(self._handle(group, this) for group in _by_cause(read.failures))
        for incident in self._timing_incidents(look):
            this.add(await self._open_timing_incident(incident))
        await self._recover(look, this)
        if self._runs_with_failures is not None:
            await self._runs_with_failures.add(look.with_failures)
        if read.is_complete:
            await self._watch.save(look)
        else:
            this.notes.append("Some failed runs could not be read now; the next pass looks again.")
        await self.follow_up(this)
        return PassResult(
            this.id,
            self._clock(),
            self._mode,
            tuple(sorted(this.records, key=lambda each: each.key)),
            tuple(this.incidents.values()),
            tuple(this.notes),
            len(look.with_failures),
        )

    async def follow_up(self, this: _Pass | None = None) -> None:
        """Begins, follows and tells what is due. Raises `StorageError`."""
        this = this or _Pass("")
        seen: set[str] = set()
        while True:
            # Those that stay due, since nobody can be told of them now, come first again.
            due = await self._incidents.due(self._clock(), limit=_DUE_AT_ONCE + len(seen))
            new = [incident for incident in due if incident.id not in seen]
            if not new:
                return
            followed = await gather_or_cancel(self._follow(incident, this) for incident in new)
            # After all that is to be begun, since a server that is told may be slow.
            for told in await gather_or_cancel(self._tell_in_turn(incident) for incident in followed):
                this.add(told)
            seen.update(incident.id for incident in new)

    async def begin_retry(self, incident_id: str) -> Incident | None:
        """Begins what was approved, and tells it. Raises `WorkspaceError` and `StorageError`."""
        incident = await self._retries.begin(incident_id)
        return incident if incident is None else await self.tell(incident) or incident

    async def tell(self, incident: Incident) -> Incident | None:
        """Hands what nobody was told yet to every notifier; the incident without it, None where there was nothing."""
        if not incident.notices or incident.snoozed_until_seconds > self._clock():
            return None
        told = []
        for pending in incident.notices:
            notice = Notice(pending.id, pending.kind, pending.at_seconds, incident, pending.text)
            taken = await gather_or_cancel(_taken(notifier, notice) for notifier in self._notifiers)
            if not all(taken):
                break
            told.append(pending.id)

        def without(each: Incident) -> Incident | None:
            left = tuple(pending for pending in each.notices if pending.id not in told)
            return None if left == each.notices else each.model_copy(update={"notices": left})

        return await self._incidents.update(incident.id, without)

    async def _follow(self, incident: Incident, this: _Pass) -> Incident:
        async with self._slots:
            try:
                changed = await self._advanced(incident)
            except WorkspaceError as error:
                _log.warning("A retry cannot be followed now; the next pass tries again", exc_info=error)
                this.notes.append("A retry could not be followed now; the next pass looks again.")
                return incident
            this.add(changed)
            return changed or incident

    async def _tell_in_turn(self, incident: Incident) -> Incident | None:
        async with self._slots:
            return await self.tell(incident)

    async def _handle(self, group: Sequence[FoundFailure], this: _Pass) -> None:
        """The incident before its records: a pass that is killed between finds the incident again."""
        async with self._slots:
            opened: list[FoundFailure] = []
            for found in group:
                incident = await self._known_incident(found)
                if incident is None:
                    opened.append(found)
                else:
                    this.add(incident)
                    await self._record([found], incident, this)
            # An incident names all its runs, or those it does not name would not be retried.
            for start in range(0, len(opened), MAX_RUNS):
                named = opened[start : start + MAX_RUNS]
                incident = await self._incidents.create(new_incident(named, self._clock()))
                this.add(incident)
                await self._record(named, incident, this)

    async def _known_incident(self, found: FoundFailure) -> Incident | None:
        now = self._clock()
        if found.was_retried:
            # One after the other, since the first to fail again decides what becomes of the incident.
            async with self._retried:
                incident = await self._failed_again(found, now)
            if incident is not None:
                return incident
        known = await self._incidents.find_open(found.run.job_id, found.fingerprint)
        if known is None:
            return None
        return await self._incidents.update(known.id, lambda each: with_repeat(each, found, now)) or known

    async def _failed_again(self, found: FoundFailure, now: float) -> Incident | None:
        retried = await retried_incident(self._incidents, found.run)
        if retried is None:
            return None
        changed = await self._incidents.update(retried.id, lambda each: with_failed_retry(each, found, now))
        incident = changed or retried
        ended = [each for each in incident.retries if each.run_id == found.run.run_id and each.outcome == "failed"]
        await self._retries.record_outcomes(incident, ended)
        return incident if any(run.key == found.run.key for run in incident.runs) else None

    async def _record(self, group: Sequence[FoundFailure], incident: Incident, this: _Pass) -> None:
        at = self._clock()
        records = [each for found in group for each in new_records(found, incident, this.id, at)]
        are_new = await gather_or_cancel(self._records.add(record) for record in records)
        this.records += [record for record, is_new in zip(records, are_new, strict=True) if is_new]

    async def _open_timing_incident(self, incident: Incident) -> Incident:
        known = await self._incidents.create(incident)
        if known.kind == incident.kind:
            return known
        # Late yesterday, and not begun until the next time it was due.
        return await self._incidents.update(known.id, lambda each: _worse(each, incident)) or known

    def _timing_incidents(self, look: Look) -> Iterable[Incident]:
        now = self._clock()
        for late in look.late:
            job = look.jobs.get(late.job_id)
            yield late_incident(late, workspace=self._workspace, tags={} if job is None else job.tags, now=now)
        for long in look.too_long:
            job = look.jobs.get(long.job_id)
            tags = {} if job is None else job.tags
            policy = self._policy_of(long.job_id, long.job_name, tags)
            yield long_run_incident(
                long, policy, workspace=self._workspace, tags=tags, most_mode=self._most_mode, now=now
            )

    async def _recover(self, look: Look, this: _Pass) -> None:
        now = self._clock()
        for healed in look.healed:
            for incident in await self._incidents.open_of_job(healed.job_id):
                if _is_healed_by(incident, healed):
                    this.add(await self._incidents.update(incident.id, lambda each: _recovered(each, now)))
        if look.over:
            for incident in await self._incidents.open():
                if incident.kind != "failure" and incident.error_fingerprint in look.over:
                    this.add(await self._incidents.update(incident.id, lambda each: _recovered(each, now)))

    async def _advanced(self, incident: Incident) -> Incident | None:
        now = self._clock()
        followed = await self._retries.follow(incident) if incident.has_open_retries else None
        incident = followed or incident
        match incident.state:
            case IncidentState.PROPOSED:
                return await self._incidents.update(incident.id, lambda each: _expired(each, now)) or followed
            case IncidentState.DELAYED if incident.act_at_seconds <= now:
                await self._incidents.update(incident.id, lambda each: _due(each, now))
                return await self._retries.begin(incident.id)
            case IncidentState.APPROVED:
                return await self._retries.begin(incident.id)
            case _:
                return followed


async def _taken(notifier: Notifier, notice: Notice) -> bool:
    """False where it has to be told again; one that never will be told is logged, and holds up no other."""
    try:
        await notifier.notify(notice)
    except NotifyError as error:
        _log.warning("%s did not take a notice about a job", notifier.name, exc_info=error)
        return not error.is_temporary
    return True


def _by_cause(failures: Sequence[FoundFailure]) -> list[list[FoundFailure]]:
    groups: dict[tuple[str, WatchMode], list[FoundFailure]] = {}
    for each in failures:
        groups.setdefault((each.fingerprint, each.mode), []).append(each)
    return list(groups.values())


def _is_healed_by(incident: Incident, healed: EndedRun) -> bool:
    """Not by a retry of ours, even one whose worker died: it is followed, so that its outcome is recorded."""
    if incident.kind != "failure" or incident.failure.ended_at_seconds >= healed.ended_at_seconds:
        return False
    is_retried = any(run.run_id == healed.run_id for run in incident.runs)
    return incident.state is not IncidentState.RETRYING and not (
        incident.state is IncidentState.APPROVED and is_retried
    )


def _recovered(incident: Incident, now: float) -> Incident | None:
    if incident.state.is_closed:
        return None
    changed = incident.model_copy(update={"state": IncidentState.RECOVERED, "changed_at_seconds": now})
    return with_notice(changed, "recovered", now, "recovered")


def _worse(incident: Incident, now: Incident) -> Incident | None:
    if incident.state.is_closed or incident.kind == now.kind:
        return None
    changes = {"kind": now.kind, "decision": now.decision, "changed_at_seconds": now.changed_at_seconds}
    return with_notice(incident.model_copy(update=changes), "repeated", now.changed_at_seconds, now.kind)


def _expired(incident: Incident, now: float) -> Incident | None:
    proposal = incident.proposal
    if incident.state is not IncidentState.PROPOSED or proposal is None or proposal.expires_at_seconds > now:
        return None
    changed = incident.model_copy(update={"state": IncidentState.OPEN, "changed_at_seconds": now})
    return with_notice(changed, "expired", now, proposal.id)


def _due(incident: Incident, now: float) -> Incident | None:
    if incident.state is not IncidentState.DELAYED or incident.act_at_seconds > now:
        return None
    return incident.model_copy(update={"state": IncidentState.APPROVED, "changed_at_seconds": now})
