"""Has recorded failures of jobs read and decided as the job watch does it, and scores the decisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from app.common.concurrency import gather_or_cancel
from app.databricks.credentials import PersonalAccessToken
from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_url import WorkspaceUrl
from app.jobs.decisions.decision import Decision
from app.jobs.decisions.guard_rails import guard
from app.jobs.decisions.similar_incident import SimilarIncident
from app.jobs.job_policy import JobPolicy
from app.jobs.runs.run_evidence import RunEvidence
from app.jobs.runs.run_failure import RunFailure
from app.local.stand_in_replies import api_application
from evals.recorded_jobs_api import RecordedJobsApi
from evals.triage_case import TriageCase
from evals.triage_score import Score, score

_TOKEN = "token-of-the-recorded-workspace"

Decide = Callable[[RunFailure, JobPolicy, Sequence[SimilarIncident], list[str]], Awaitable[Decision]]
"""Decides about a failure; what it sends to a model is added to the list."""


async def evaluate(cases: Sequence[TriageCase], decide: Decide, *, concurrency: int = 1) -> list[Score]:
    """In the order of the cases. Each is read over HTTP as the watch reads a failed run, decided, and held to the guard
    rails.
    """
    slots = asyncio.Semaphore(concurrency)
    failures = await _read(cases)

    async def one(case: TriageCase, failure: RunFailure) -> Score:
        async with slots:
            return await _scored(case, failure, decide)

    return list(await gather_or_cancel(one(case, failure) for case, failure in zip(cases, failures, strict=True)))


async def _read(cases: Sequence[TriageCase]) -> list[RunFailure]:
    if not cases:
        return []
    recorded = RecordedJobsApi(cases[0])
    failures = []
    async with _evidence_of(recorded) as evidence:
        for case in cases:
            recorded.case = case
            failure = await evidence.failure(case.run_id, newer_run=case.newer_run)
            if failure is None:
                raise ValueError(f"{case.name} is not a run that failed")
            failures.append(failure)
    return failures


async def _scored(case: TriageCase, failure: RunFailure, decide: Decide) -> Score:
    policy = case.policy.as_policy()
    prompts: list[str] = []
    similar = [each.as_incident(failure.job_name) for each in case.similar]
    decided = await decide(failure, policy, similar, prompts)
    return score(case, failure, decided, guard(decided, failure, policy, case.facts.as_facts()), prompts)


@asynccontextmanager
async def _evidence_of(recorded: RecordedJobsApi) -> AsyncIterator[RunEvidence]:
    async with TestServer(api_application(_TOKEN, [recorded]), host="127.0.0.1") as server:
        url = WorkspaceUrl.parse(f"http://127.0.0.1:{server.port}")
        workspace = WorkspaceClient(url, PersonalAccessToken(SecretStr(_TOKEN)), sleep=lambda _: asyncio.sleep(0))
        try:
            yield RunEvidence(JobsApi(workspace), "recorded")
        finally:
            await workspace.close()
