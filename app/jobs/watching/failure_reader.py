"""Turns the failed runs of a look into failures with evidence, a decision, and what the guard rails make of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from app.common.concurrency import gather_or_cancel
from app.databricks.workspace_errors import WorkspaceError
from app.jobs.decisions.decision import Decision, DecisionAction
from app.jobs.decisions.guard_rails import GuardFacts, guard
from app.jobs.decisions.similar_incident import SimilarIncident
from app.jobs.history.decision_records import DecisionRecords, record_key
from app.jobs.incidents.incident import Incident
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.job_policy import JobPolicy, PolicyOf, WatchMode
from app.jobs.repairs.job_repairs import JobRepairs
from app.jobs.runs.error_fingerprint import error_fingerprint
from app.jobs.runs.look import EndedRun, Look
from app.jobs.runs.run_evidence import RunEvidence
from app.jobs.runs.run_failure import RunFailure
from app.jobs.watching.found_failure import FoundFailure

_MAX_CONCURRENT_RUNS = 8
_RETRIES = frozenset({DecisionAction.RETRY, DecisionAction.RETRY_WITH_PARAMS})
_log = logging.getLogger(__name__)

SimilarTo = Callable[[RunFailure], Awaitable[Sequence[SimilarIncident]]]


class Strategy(Protocol):
    """Decides about failures; `app.jobs.error_decision_engine.ErrorDecisionEngine` is one. `model` names who is asked,
    and is empty where only the rules decide.
    """

    @property
    def model(self) -> str: ...

    def begin_pass(self) -> None:
        """Forgets what was decided for equal errors before."""
        ...

    async def decide(
        self, failure: RunFailure, policy: JobPolicy, similar: Sequence[SimilarIncident] = ()
    ) -> Decision: ...


@dataclass(frozen=True, slots=True)
class Strategies:
    """`observed` is recorded beside the first, and never acts."""

    primary: Strategy
    observed: Strategy | None = None


@dataclass(frozen=True, slots=True)
class ReadFailures:
    """`is_complete`: False where one could not be read now, which the next look has to find again."""

    failures: tuple[FoundFailure, ...]
    is_complete: bool


class FailureReader:
    def __init__(
        self,
        evidence: RunEvidence,
        strategies: Strategies,
        repairs: JobRepairs,
        incidents: IncidentStore,
        records: DecisionRecords,
        policy_of: PolicyOf,
        similar_to: SimilarTo,
        *,
        breaker_jobs: int,
        most_mode: WatchMode,
    ) -> None:
        self._evidence = evidence
        self._strategies = strategies
        self._repairs = repairs
        self._incidents = incidents
        self._records = records
        self._policy_of = policy_of
        self._similar_to = similar_to
        self._breaker_jobs = breaker_jobs
        self._most_mode = most_mode
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT_RUNS)

    async def read(self, look: Look) -> ReadFailures:
        """Those of the look that were not handled before, in its order. Raises `StorageError`."""
        self._strategies.primary.begin_pass()
        if self._strategies.observed is not None:
            self._strategies.observed.begin_pass()
        new = await gather_or_cancel(self._is_new(run) for run in look.failed)
        runs = [run for run, is_new in zip(look.failed, new, strict=True) if is_new]
        failed_jobs = len({run.job_id for run in runs})
        found = await gather_or_cancel(self._read(run, look, failed_jobs) for run in runs)
        failures = tuple(each for each in found if isinstance(each, FoundFailure))
        return ReadFailures(failures, is_complete=not any(isinstance(each, WorkspaceError) for each in found))

    async def _is_new(self, run: EndedRun) -> bool:
        async with self._slots:
            return await self._records.find(record_key(run.ended_at_seconds, run.key)) is None

    async def _read(self, run: EndedRun, look: Look, failed_jobs: int) -> FoundFailure | WorkspaceError | None:
        """None where the run is failed no more."""
        async with self._slots:
            try:
                failure = await self._evidence.failure(run.run_id, newer_run=run.newer_run)
                return None if failure is None else await self._decided(run, failure, look, failed_jobs)
            except WorkspaceError as error:
                _log.warning("A failed run cannot be read now; the next pass tries again", exc_info=error)
                return error

    async def _decided(self, run: EndedRun, failure: RunFailure, look: Look, failed_jobs: int) -> FoundFailure:
        job = look.jobs.get(run.job_id)
        tags = {} if job is None else job.tags
        policy = self._policy_of(run.job_id, run.job_name, tags)
        similar = await self._similar_to(failure)
        decided = await self._strategies.primary.decide(failure, policy, similar)
        if decided.action in _RETRIES:
            failure = await self._evidence.with_edits(failure)
        observed = self._strategies.observed
        attempts = await self._repairs.attempts(failure)
        retried = await retried_incident(self._incidents, run)
        facts = GuardFacts(
            retries=attempts.retries,
            retries_with_params=attempts.retries_with_params,
            same_error_after_our_retry=retried is not None and _is_same_error_after_our_retry(retried, failure),
            failed_jobs_in_pass=failed_jobs,
            breaker_jobs=self._breaker_jobs,
        )
        found = FoundFailure(
            run=run,
            failure=failure,
            policy=policy,
            mode=lower_mode(policy.mode, self._most_mode),
            guarded=guard(decided, failure, policy, facts),
            decided=decided,
            model=self._strategies.primary.model,
            tags=tags,
            was_retried=retried is not None,
        )
        if observed is None:
            return found
        decision = await observed.decide(failure, policy, similar)
        return replace(found, observed=decision, observed_model=observed.model)


async def retried_incident(incidents: IncidentStore, run: EndedRun) -> Incident | None:
    """The open incident for which this run was retried, or begun."""
    for incident in await incidents.open_of_job(run.job_id):
        if any(each.run_id == run.run_id and each.outcome in {"", "failed"} for each in incident.retries):
            return incident
    return None


def _is_same_error_after_our_retry(retried: Incident, failure: RunFailure) -> bool:
    is_ours = any(each.by_us and each.run_id == failure.run_id for each in retried.retries)
    return is_ours and retried.error_fingerprint == error_fingerprint(failure)


def lower_mode(mode: WatchMode, most: WatchMode) -> WatchMode:
    order = list(WatchMode)
    return min(mode, most, key=order.index)
