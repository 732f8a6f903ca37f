"""Repairs of failed runs, each begun once: by whichever watcher, however often it is asked, wherever one dies."""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from app.common.json_values import count, items, mapping, text
from app.databricks.jobs_api import JobsApi, UnclearOutcomeError
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceNotFoundError,
    WorkspacePermissionError,
    WorkspaceRateLimitError,
    WorkspaceRequestError,
)
from app.jobs.repairs.repair_log import RepairEntry, RepairLog, RunRepairs
from app.jobs.repairs.repair_request import RepairRequest, RepairResult, RetryAttempts, RetryOutcome, StartedRetry
from app.jobs.runs.run_evidence import job_parameters
from app.jobs.runs.run_failure import RunFailure
from app.jobs.runs.run_summary import CANCELED, SUCCEEDED, has_ended, termination_code
from app.storage.documents import DocumentStore

Json = Mapping[str, Any]

# Longer than a repair may take with the reads around it: then its worker has died.
_CLAIM_SECONDS = 180.0
# Ends are told in milliseconds; what is this much later is another end.
_SAME_END_SECONDS = 0.5
_NOT_REPAIRABLE = re.compile(r"never began|no failed tasks|nothing to repair|cannot be repaired", re.IGNORECASE)

_GONE = "The run is gone, or may not be seen any more."
_IN_PROGRESS = "The run is in progress."
_NO_PERMISSION = "The agent may not repair runs of this job: it needs the permission CAN MANAGE RUN."
_ENDED = "The run has ended already."


class JobRepairs:
    """`clock` is in seconds since 1970. Methods raise `WorkspaceError` where it is not known what became of it, or
    nothing was done and another call may do it; and `StorageError`.
    """

    def __init__(
        self, api: JobsApi, documents: DocumentStore, *, workspace: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._api = api
        self._log = RepairLog(documents, workspace=workspace)
        self._clock = clock

    async def attempts(self, failure: RunFailure) -> RetryAttempts:
        ours = await self._log.read(failure.run_id)
        by_service = len(failure.repair_ids) + (failure.original_attempt_run_id not in {0, failure.run_id})
        return RetryAttempts(max(ours.retries, ours.retries_before + by_service), ours.retries_with_params)

    async def start(self, request: RepairRequest) -> RepairResult:
        """Repairs the run, or begins a run in its place where it never began. Asked again, it says what came of it."""
        claim_id = uuid.uuid4().hex
        known = await self._log.read(request.run_id)
        if (result := self._known_result(known, request)) is not None:
            return result
        try:
            run = await self._api.run(request.run_id)
        except WorkspaceNotFoundError:
            return await self._refuse(request, _GONE)
        except WorkspacePermissionError:
            return await self._refuse(request, _NO_PERMISSION)
        latest = _latest_repair(run)
        entry = known.find(request.id)
        before = latest if entry is None else entry.latest_repair_id
        if entry is not None and latest != before:
            # The worker that asked for it died, or got no answer, after it was begun.
            return await self._begun(request, StartedRetry("repair", request.run_id, latest))
        if _ended_at(run) > request.ended_at_seconds + _SAME_END_SECONDS or (not has_ended(run) and latest):
            return await self._begun(request, StartedRetry("repair", request.run_id, latest, by_us=False))
        if not has_ended(run):
            return await self._refuse(request, _IN_PROGRESS)
        if not await self._claim(request, claim_id, before):
            return RepairResult()
        return await self._act(request, run, latest)

    async def outcome(self, started: StartedRetry) -> RetryOutcome:
        try:
            run = await self._api.run(started.run_id)
        except (WorkspaceNotFoundError, WorkspacePermissionError):
            return "unknown"
        if started.repair_id:
            repairs = (mapping(each) for each in items(run.get("repair_history")))
            run = next((each for each in repairs if count(each.get("id")) == started.repair_id), run)
        if not has_ended(run):
            return "active"
        code = termination_code(run)
        if code in SUCCEEDED:
            return "succeeded"
        return "canceled" if code in CANCELED else "failed"

    async def cancel(self, run_id: int) -> str:
        """Asks for it; a sentence for a person where that cannot be."""
        try:
            if has_ended(await self._api.run(run_id)):
                return _ENDED
            await self._api.cancel_run(run_id)
        except WorkspaceNotFoundError:
            return _GONE
        except WorkspacePermissionError:
            return _NO_PERMISSION
        except WorkspaceRequestError as error:
            return _refusal("cancel", error)
        return ""

    def _known_result(self, known: RunRepairs, request: RepairRequest) -> RepairResult | None:
        mine = known.find(request.id)
        if mine is not None and mine.state != "intended":
            return RepairResult(mine.started, mine.refusal)
        for each in known.entries:
            is_same_end = abs(each.ended_at_seconds - request.ended_at_seconds) <= _SAME_END_SECONDS
            if each is mine or (is_same_end and each.state != "refused"):
                if each.state == "started":
                    return RepairResult(each.started)
                if each.claimed_until_seconds > self._clock():
                    return RepairResult()
        return None

    async def _claim(self, request: RepairRequest, claim_id: str, latest_repair_id: int) -> bool:
        """Stores the intent: only one of several watchers may go on."""
        now = self._clock()
        entry = RepairEntry(
            id=request.id,
            state="intended",
            ended_at_seconds=request.ended_at_seconds,
            latest_repair_id=latest_repair_id,
            claim_id=claim_id,
            claimed_until_seconds=now + _CLAIM_SECONDS,
            has_parameters=bool(request.parameters),
        )

        def change(known: RunRepairs) -> RunRepairs | None:
            return None if self._known_result(known, request) is not None else known.with_entry(entry)

        return await self._log.change(request.run_id, change) is not None

    async def _act(self, request: RepairRequest, run: Json, latest: int) -> RepairResult:
        parameters = {**job_parameters(run), **request.parameters}
        if not _ran(run):
            return await self._run_now(request, parameters)
        try:
            repair_id = await self._api.repair_run(
                request.run_id,
                tasks=request.tasks,
                job_parameters=parameters,
                latest_repair_id=latest or None,
                performance_target=request.performance_target,
            )
        except UnclearOutcomeError:
            # The claim stays: what was begun is seen when it has ended.
            return RepairResult()
        except WorkspaceRequestError as error:
            return await self._after_refusal(request, parameters, latest, error)
        except WorkspacePermissionError:
            return await self._refuse(request, _NO_PERMISSION)
        except WorkspaceNotFoundError:
            return await self._refuse(request, _GONE)
        except WorkspaceRateLimitError:
            await self._release(request)
            return RepairResult()
        except WorkspaceError:
            await self._release(request)
            raise
        return await self._begun(request, StartedRetry("repair", request.run_id, repair_id))

    async def _after_refusal(
        self, request: RepairRequest, parameters: Mapping[str, str], latest: int, error: WorkspaceRequestError
    ) -> RepairResult:
        """Somebody was faster, or the run cannot be repaired at all."""
        now = await self._api.run(request.run_id)
        if (newest := _latest_repair(now)) != latest:
            return await self._begun(request, StartedRetry("repair", request.run_id, newest, by_us=False))
        if _NOT_REPAIRABLE.search(error.detail) and has_ended(now):
            return await self._run_now(request, parameters)
        return await self._refuse(request, _refusal("repair", error))

    async def _run_now(self, request: RepairRequest, parameters: Mapping[str, str]) -> RepairResult:
        try:
            run_id = await self._api.run_now(
                request.job_id,
                idempotency_token=hashlib.sha256(request.id.encode()).hexdigest(),
                job_parameters=parameters,
                performance_target=request.performance_target,
            )
        except UnclearOutcomeError:
            # Asked again, the same token gives the run that was begun.
            await self._release(request)
            return RepairResult()
        except WorkspaceRateLimitError:
            await self._release(request)
            return RepairResult()
        except WorkspaceRequestError as error:
            return await self._refuse(request, _refusal("run", error))
        except WorkspacePermissionError:
            return await self._refuse(request, _NO_PERMISSION)
        except WorkspaceNotFoundError:
            return await self._refuse(request, "The job is gone, or may not be seen any more.")
        except WorkspaceError:
            await self._release(request)
            raise
        await self._remember_origin(request, run_id)
        return await self._begun(request, StartedRetry("run", run_id))

    async def _remember_origin(self, request: RepairRequest, run_id: int) -> None:
        """The new run has used up the attempts of the one before."""
        before = await self._log.read(request.run_id)
        update = {
            "retries_before": before.retries + 1,
            "retries_with_params_before": before.retries_with_params + bool(request.parameters),
        }
        await self._log.change(run_id, lambda known: None if known.retries_before else known.model_copy(update=update))

    async def _begun(self, request: RepairRequest, started: StartedRetry) -> RepairResult:
        return await self._settle(
            request,
            {
                "state": "started",
                "kind": started.kind,
                "run_id": started.run_id,
                "repair_id": started.repair_id,
                "by_us": started.by_us,
            },
        )

    async def _refuse(self, request: RepairRequest, sentence: str) -> RepairResult:
        return await self._settle(request, {"state": "refused", "refusal": sentence})

    async def _release(self, request: RepairRequest) -> None:
        await self._settle(request, {"claimed_until_seconds": 0.0})

    async def _settle(self, request: RepairRequest, update: Mapping[str, object]) -> RepairResult:
        """What stands in the store wins, where another worker was faster."""

        def change(known: RunRepairs) -> RunRepairs | None:
            entry = known.find(request.id) or RepairEntry(
                id=request.id,
                state="intended",
                ended_at_seconds=request.ended_at_seconds,
                has_parameters=bool(request.parameters),
            )
            return known.with_entry(entry.model_copy(update=update)) if entry.state == "intended" else None

        known = await self._log.change(request.run_id, change) or await self._log.read(request.run_id)
        entry = known.find(request.id)
        return RepairResult() if entry is None else RepairResult(entry.started, entry.refusal)


def _latest_repair(run: Json) -> int:
    """0 where it was never repaired."""
    repairs = [mapping(each) for each in items(run.get("repair_history"))]
    latest = max(repairs, key=lambda each: (count(each.get("start_time")), count(each.get("id"))), default={})
    return count(latest.get("id"))


def _ended_at(run: Json) -> float:
    return count(run.get("end_time")) / 1000


def _ran(run: Json) -> bool:
    """A run none of whose tasks began has nothing that can be repaired."""
    tasks = [mapping(each) for each in items(run.get("tasks"))]
    return any(count(each.get("start_time")) for each in tasks)


def _refusal(call: str, error: WorkspaceRequestError) -> str:
    detail = text(error.detail)
    return f"Databricks refused to {call} it: {detail}" if detail else f"Databricks refused to {call} it."
