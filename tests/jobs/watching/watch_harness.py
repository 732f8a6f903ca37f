"""A job watch over the stand-in Jobs API, with a store on disk and a clock that the test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.databricks.jobs_api import JobsApi
from app.jobs.decisions.decision import Decision, DecisionAction
from app.jobs.decisions.similar_incident import SimilarIncident
from app.jobs.history.decision_record import DecisionRecord
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.incidents.incident import Incident, IncidentState
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.job_policy import JobPolicy, Person, WatchMode
from app.jobs.notifications.notifier import Notice
from app.jobs.repairs.job_repairs import JobRepairs
from app.jobs.runs.run_evidence import RunEvidence
from app.jobs.runs.run_failure import RunFailure
from app.jobs.runs.run_watch import RunWatch
from app.jobs.watching.failure_reader import FailureReader, Strategies
from app.jobs.watching.incident_retries import IncidentRetries
from app.jobs.watching.job_watch import JobWatch
from app.storage.documents import DocumentStore
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.job_service import JobService, job_service

WORKSPACE = "adb-1.azuredatabricks.net"
ALICE = Person("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222", "Alice")
RETRY = Decision(DecisionAction.RETRY, "It may pass.", "A lost node", (), {}, 0.9, "model")


@dataclass
class ScriptedStrategy:
    """Decides the same about every failure, and counts."""

    decision: Decision = RETRY
    model: str = "scripted"
    asked: list[RunFailure] = field(default_factory=list)

    def begin_pass(self) -> None:
        pass

    async def decide(self, failure: RunFailure, policy: JobPolicy, similar: Sequence[SimilarIncident] = ()) -> Decision:
        self.asked.append(failure)
        return self.decision


class RecordingNotifier:
    name = "recording"

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.failure: Exception | None = None

    async def notify(self, notice: Notice) -> None:
        if self.failure is not None:
            raise self.failure
        self.notices.append(notice)

    @property
    def told(self) -> list[str]:
        """The kinds, a notice that was told again once."""
        return list({each.id: each.kind for each in self.notices}.values())


@dataclass
class Watcher:
    jobs: JobService
    documents: DocumentStore
    strategy: ScriptedStrategy = field(default_factory=ScriptedStrategy)
    policy: JobPolicy = field(default_factory=lambda: JobPolicy(approvers=(ALICE,)))
    notifier: RecordingNotifier = field(default_factory=RecordingNotifier)
    observed: ScriptedStrategy | None = None
    most_mode: WatchMode = WatchMode.AUTO
    breaker_jobs: int = 10

    def decides(self, action: str, **changes: Any) -> None:
        self.strategy.decision = replace(RETRY, action=DecisionAction(action), **changes)

    @property
    def incidents(self) -> IncidentStore:
        return IncidentStore(self.documents, workspace=WORKSPACE)

    @property
    def records(self) -> DecisionRecords:
        return DecisionRecords(self.documents, workspace=WORKSPACE)

    async def history(self) -> list[DecisionRecord]:
        records = self.records.between(self.jobs.now - 10 * 24 * 3600, self.jobs.now)
        return sorted([each async for each in records], key=lambda each: each.key)

    async def only_incident(self) -> Incident:
        ids = {each.incident_id for each in await self.history()}
        assert len(ids) == 1, f"{len(ids)} incidents"
        incident = await self.incidents.find(ids.pop())
        assert incident is not None
        return incident

    async def approve(self, incident: Incident) -> None:
        update = {"state": IncidentState.APPROVED, "decided_by": ALICE}
        await self.incidents.update(incident.id, lambda each: each.model_copy(update=update))

    def watch(
        self,
        wrap_documents: Callable[[DocumentStore], DocumentStore] = lambda each: each,
        wrap_api: Callable[[JobsApi], JobsApi] = lambda each: each,
    ) -> JobWatch:
        """One of a process of its own."""

        def policy_of(*_: object) -> JobPolicy:
            return self.policy

        def clock() -> float:
            return self.jobs.now

        async def similar_to(_: RunFailure) -> Sequence[SimilarIncident]:
            return ()

        documents, api = wrap_documents(self.documents), wrap_api(self.jobs.api)
        incidents = IncidentStore(documents, workspace=WORKSPACE)
        records = DecisionRecords(documents, workspace=WORKSPACE)
        repairs = JobRepairs(api, documents, workspace=WORKSPACE, clock=clock)
        reader = FailureReader(
            RunEvidence(api, WORKSPACE),
            Strategies(self.strategy, self.observed),
            repairs,
            incidents,
            records,
            policy_of,
            similar_to,
            breaker_jobs=self.breaker_jobs,
            most_mode=self.most_mode,
        )
        return JobWatch(
            RunWatch(api, documents, workspace=WORKSPACE, policy_of=policy_of, clock=clock),
            reader,
            IncidentRetries(repairs, incidents, records, clock=clock),
            incidents,
            records,
            policy_of,
            [self.notifier],
            workspace=WORKSPACE,
            most_mode=self.most_mode,
            clock=clock,
        )


@asynccontextmanager
async def watcher(path: Path, **settings: Any) -> AsyncIterator[Watcher]:
    store = SqliteStore(path / "store.db")
    documents = store.documents()
    async with job_service() as jobs:
        yield Watcher(jobs, documents, **settings)
    await documents.close()
    await store.close()
