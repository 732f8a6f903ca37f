"""Repairs of failed runs, each begun once: by whichever watcher, however often it is asked, wherever one dies.

The store that watchers share holds the lock and the intent. What the service was asked but did not answer is found in
the run itself: its repairs have no idempotency token, but a repair is refused where it does not name the latest one.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app.databricks.jobs_api import JobsApi, UnclearOutcomeError
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceNotFoundError,
    WorkspacePermissionError,
    WorkspaceRateLimitError,
    WorkspaceRequestError,
)
from app.jobs.repairs import repair_sentences as sentences
from app.jobs.repairs.begun_repair import begun_repair
from app.jobs.repairs.repair_history import (
    has_begun,
    latest_repair_id,
    service_attempts,
)
from app.jobs.repairs.repair_log import RepairLog, RunRepairs, new_entry
from app.jobs.repairs.repair_request import RepairRequest, RepairResult, RetryAttempts, RetryOutcome, StartedRetry
from app.jobs.repairs.retry_outcome import retry_outcome
from app.jobs.runs.run_evidence import is_serverless, job_parameters
from app.jobs.runs.run_failure import RunFailure
from app.jobs.runs.run_summary import CANCELED, has_ended, termination_code
from app.storage.documents import DocumentStore

Json = Mapping[str, Any]

# Longer than a repair may take with the reads around it: then its worker has died.
_CLAIM_SECONDS = 180.0


class JobRepairs:
    """`clock` is in seconds since 1970. Methods raise `WorkspaceError` where it is not known what became of it, or
    nothing was done and another call may do it; and `StorageError`.
    """

    def __init__(
        self, api: JobsApi, documents: DocumentStore, *, workspace: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._api = api
        self._log = RepairLog(documents, workspace=workspace)
        self._workspace = workspace
        self._clock = clock

    async def attempts(self, failure: RunFailure) -> RetryAttempts:
        """Those of this run and of the runs that it was begun in place of."""
        ours, first_id = await self._log.read(failure.run_id), failure.original_attempt_run_id
        before, before_with_params = ours.retries_before, ours.retries_with_params_before
        if first_id not in {0, failure.run_id}:
            first = await self._log.read(first_id)
            before, before_with_params = max(before, first.retries), max(before_with_params, first.retries_with_params)
        by_service = len(failure.repair_ids) + failure.attempt_number
        return RetryAttempts(
            before + max(ours.retries - ours.retries_before, by_service),
            before_with_params + ours.retries_with_params - ours.retries_with_params_before,
        )

    async def start(self, request: RepairRequest) -> RepairResult:
        """Repairs the run, or begins a run of its job where it cannot be repaired. Asked again, it says what came of
        it.
        """
        if (result := self._known_result(await self._log.read(request.run_id), request)) is not None:
            return result
        try:
            run = await self._api.run(request.run_id)
        except WorkspaceNotFoundError:
            return await self._start_without_run(request)
        except WorkspacePermissionError:
            return await self._refuse(request, sentences.NO_PERMISSION)
        # After the run: of a repair of ours that is seen there, the intent was stored before.
        known = await self._log.read(request.run_id)
        if (result := self._known_result(known, request)) is not None:
            return result
        if (intended := known.intended_run(request.ended_at_seconds)) is not None:
            return await self._start_run(request, run, intended.note)
        if (begun := begun_repair(request, run, known)) is not None:
            return await self._begun(request, begun)
        if request.performance_target and not is_serverless(run):
            return await self._refuse(request, sentences.NOT_SERVERLESS)
        if not has_begun(run):
            return await self._start_run(request, run, sentences.NEVER_BEGAN)
        claim_id = uuid.uuid4().hex
        if not await self._claim(request, claim_id, latest_repair_id(run)):
            return RepairResult()
        return await self._repair(request, run, known, claim_id)

    async def outcome(self, started: StartedRetry) -> RetryOutcome:
        return await retry_outcome(self._api, started, self._clock())

    async def cancel(self, run_id: int) -> str:
        """Asks for it; a sentence for a person where that cannot be. Asked again, it is no refusal."""
        try:
            run = await self._api.run(run_id)
            if has_ended(run):
                return "" if termination_code(run) in CANCELED else sentences.HAS_ENDED
            await self._api.cancel_run(run_id)
        except WorkspaceNotFoundError as error:
            return sentences.gone(error)
        except WorkspacePermissionError:
            return sentences.NO_PERMISSION
        except WorkspaceRequestError as error:
            return sentences.refusal("cancel", error)
        return ""

    def _known_result(self, known: RunRepairs, request: RepairRequest) -> RepairResult | None:
        """None where the request may go on."""
        mine = known.find(request.id)
        if mine is not None and mine.state != "intended":
            return mine.result
        for each in known.entries:
            if each is mine or (each.is_of(request.ended_at_seconds) and each.state != "refused"):
                if each.state == "started":
                    return each.result
                if each.claimed_until_seconds > self._clock():
                    return RepairResult()
        return None

    async def _claim(self, request: RepairRequest, claim_id: str, latest: int, **intent: object) -> bool:
        """Stores the intent: only one of several watchers may go on."""
        now = self._clock()

        def change(known: RunRepairs) -> RunRepairs | None:
            if self._known_result(known, request) is not None:
                return None
            entry = known.find(request.id) or new_entry(request, now)
            update = {
                "latest_repair_id": latest,
                "claim_id": claim_id,
                "claimed_until_seconds": now + _CLAIM_SECONDS,
                "asked_until_seconds": now + _CLAIM_SECONDS,
            }
            return known.with_entry(entry.model_copy(update=update | intent))

        return await self._log.change(request.run_id, change) is not None

    async def _repair(self, request: RepairRequest, run: Json, known: RunRepairs, claim_id: str) -> RepairResult:
        """`known` is the log as it was before the claim."""
        call = self._api.repair_run(
            request.run_id,
            tasks=request.tasks,
            job_parameters={**job_parameters(run), **request.parameters},
            latest_repair_id=latest_repair_id(run) or None,
            performance_target=request.performance_target,
        )
        try:
            answer = await self._answer(request, call)
        except UnclearOutcomeError:
            return await self._read_again(request)
        except WorkspaceRequestError as error:
            return await self._after_refusal(request, known, claim_id, error)
        if isinstance(answer, RepairResult):
            return answer
        return await self._begun(request, StartedRetry("repair", request.run_id, answer))

    async def _read_again(self, request: RepairRequest) -> RepairResult:
        """Without a new repair the claim stays: one that is still on its way is seen by a later call."""
        run = await self._api.run(request.run_id)
        begun = begun_repair(request, run, await self._log.read(request.run_id))
        return RepairResult() if begun is None else await self._begun(request, begun)

    async def _after_refusal(
        self, request: RepairRequest, known: RunRepairs, claim_id: str, error: WorkspaceRequestError
    ) -> RepairResult:
        """Somebody was faster, or the run cannot be repaired at all."""
        now = await self._log.read(request.run_id)
        mine = now.find(request.id)
        if mine is None or mine.claim_id != claim_id:
            # This worker was slower than its claim, and another one has taken over.
            return self._known_result(now, request) or RepairResult()
        run = await self._api.run(request.run_id)
        if (begun := begun_repair(request, run, known)) is not None:
            return await self._begun(request, begun)
        if why := sentences.reason_for_new_run(error):
            await self._release(request)
            return await self._start_run(request, run, why)
        return await self._refuse(request, sentences.refusal("repair", error))

    async def _start_without_run(self, request: RepairRequest) -> RepairResult:
        if request.run_parameters is None:
            return await self._refuse(request, sentences.RUN_GONE)
        return await self._start_run(request, None, sentences.GONE_SO_RUN)

    async def _start_run(self, request: RepairRequest, run: Json | None, note: str) -> RepairResult:
        """`run` is None where it is gone."""
        if not await self._claim(request, uuid.uuid4().hex, 0, kind="run", note=note):
            return RepairResult()
        before = request.run_parameters or {} if run is None else job_parameters(run)
        call = self._api.run_now(
            request.job_id,
            idempotency_token=self._run_token(request),
            job_parameters={**before, **request.parameters},
            performance_target="" if run is None else request.performance_target,
        )
        try:
            answer = await self._answer(request, call)
        except UnclearOutcomeError:
            # Asked again, the same token gives the run that was begun.
            await self._release(request)
            return RepairResult()
        except WorkspaceRequestError as error:
            return await self._refuse(request, sentences.refusal("run", error))
        if isinstance(answer, RepairResult):
            return answer
        await self._remember_origin(request, answer, 0 if run is None else service_attempts(run))
        return await self._begun(request, StartedRetry("run", answer))

    def _run_token(self, request: RepairRequest) -> str:
        """The same for all requests about the same end of the run."""
        end = f"{self._workspace}\n{request.run_id}\n{round(request.ended_at_seconds * 1000)}"
        return hashlib.sha256(end.encode()).hexdigest()

    async def _answer(self, request: RepairRequest, call: Awaitable[int]) -> int | RepairResult:
        """The id of what was begun, or why nothing was. Raises UnclearOutcomeError and WorkspaceRequestError."""
        try:
            return await call
        except (UnclearOutcomeError, WorkspaceRequestError):
            raise
        except WorkspacePermissionError:
            return await self._refuse(request, sentences.NO_PERMISSION)
        except WorkspaceNotFoundError as error:
            return await self._refuse(request, sentences.gone(error))
        except WorkspaceRateLimitError:
            await self._release(request)
            return RepairResult()
        except WorkspaceError:
            await self._release(request)
            raise

    async def _remember_origin(self, request: RepairRequest, run_id: int, by_service: int) -> None:
        """The new run has used up the attempts of the one before."""
        before = await self._log.read(request.run_id)
        update = {
            "retries_before": max(before.retries, by_service) + 1,
            "retries_with_params_before": before.retries_with_params + request.has_changes,
        }
        await self._log.change(run_id, lambda known: None if known.retries_before else known.model_copy(update=update))

    async def _begun(self, request: RepairRequest, started: StartedRetry) -> RepairResult:
        update: dict[str, object] = {
            "state": "started",
            "kind": started.kind,
            "run_id": started.run_id,
            "repair_id": started.repair_id,
            "by_us": started.by_us,
        }
        return await self._settle(request, update | ({} if started.by_us else {"note": sentences.BY_SOMEBODY_ELSE}))

    async def _refuse(self, request: RepairRequest, sentence: str) -> RepairResult:
        return await self._settle(request, {"state": "refused", "refusal": sentence})

    async def _release(self, request: RepairRequest) -> None:
        await self._settle(request, {"claimed_until_seconds": 0.0})

    async def _settle(self, request: RepairRequest, update: Mapping[str, object]) -> RepairResult:
        """What stands in the store wins, where another worker was faster."""

        def change(known: RunRepairs) -> RunRepairs | None:
            entry = known.find(request.id) or new_entry(request, self._clock())
            return known.with_entry(entry.model_copy(update=update)) if entry.state == "intended" else None

        known = await self._log.change(request.run_id, change) or await self._log.read(request.run_id)
        entry = known.find(request.id)
        return RepairResult() if entry is None else entry.result
