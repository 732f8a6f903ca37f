"""Tells MLflow and Genie what a person thinks of an answer: once each, though workers die and answers get lost."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from app.content.feedback_target import GenieTarget, TraceTarget
from app.databricks.genie_api import GenieApi
from app.databricks.mlflow_assessments import HumanFeedback
from app.databricks.workspace_errors import (
    CredentialError,
    WorkspaceError,
    WorkspaceNotFoundError,
    WorkspacePermissionError,
    WorkspaceRateLimitError,
    WorkspaceRequestError,
    WorkspaceSignInError,
    WorkspaceUnreachableError,
)
from app.feedback.assessments import Assessments
from app.feedback.feedback_targets import FeedbackTargets
from app.feedback.rating_records import Destination, RatingRecord, RatingRecords, Reaction

_log = logging.getLogger(__name__)

_LEASE_SECONDS = 60.0
# Below the lease, so that no other worker delivers the rating at the same time.
_DELIVER_SECONDS = 45.0
_GENIE_RATINGS = {Reaction.LIKE: "POSITIVE", Reaction.DISLIKE: "NEGATIVE", Reaction.NONE: "NONE"}
# The workspace was not asked, or has said that it did not do what it was asked.
_NOT_DONE = (
    CredentialError,
    WorkspaceSignInError,
    WorkspacePermissionError,
    WorkspaceNotFoundError,
    WorkspaceRequestError,
    WorkspaceRateLimitError,
    WorkspaceUnreachableError,
)
_REFUSED = (WorkspacePermissionError, WorkspaceRequestError)


class RatingNotDeliveredError(Exception):
    """To be tried again later."""


class _ClaimLostError(Exception):
    """The record was deleted, or another worker has claimed it."""


class RatingDelivery:
    """`genie` is None where no answer comes from Genie. `clock` is in seconds since 1970."""

    def __init__(
        self,
        records: RatingRecords,
        targets: FeedbackTargets,
        assessments: Assessments,
        genie: GenieApi | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._targets = targets
        self._assessments = assessments
        self._genie = genie
        self._clock = clock

    async def deliver(self, tenant: str, rating: str, *, is_first_attempt: bool) -> None:
        """Returns when MLflow and Genie have what the person said last, or refuse it.

        `is_first_attempt`: where the rating counts may not be stored yet. Raises `RatingNotDeliveredError` and
        `StorageError`.
        """
        owner = uuid.uuid4().hex
        try:
            while (claimed := await self._claim(tenant, rating, owner)) is not None:
                if claimed.destinations is None:
                    await self._find_destinations(tenant, rating, claimed, is_first_attempt=is_first_attempt)
                else:
                    await self._deliver(_Claim(self._records, tenant, rating, claimed))
        except _ClaimLostError:
            _log.info("A rating was forgotten, or claimed by another worker, while it was delivered")

    async def _claim(self, tenant: str, rating: str, owner: str) -> RatingRecord | None:
        """None if nothing is left to be delivered."""
        now = self._clock()

        def claim(record: RatingRecord | None) -> RatingRecord | None:
            if record is None or record.is_delivered:
                return None
            if record.owner not in ("", owner) and record.lease_until > now:
                raise RatingNotDeliveredError("another worker delivers it")
            return record.model_copy(update={"owner": owner, "lease_until": now + _LEASE_SECONDS})

        return await self._records.change(tenant, rating, claim)

    async def _find_destinations(
        self, tenant: str, rating: str, claimed: RatingRecord, *, is_first_attempt: bool
    ) -> None:
        found = await self._targets.find(tenant, claimed.answer)
        claim = _Claim(self._records, tenant, rating, claimed)
        if found is None and is_first_attempt:
            await claim.release()
            raise RatingNotDeliveredError("where the rating counts is not known yet")
        destinations = tuple(Destination(target=target) for target in found or ())
        await claim.change(lambda record: record.model_copy(update={"destinations": destinations}))

    async def _deliver(self, claim: _Claim) -> None:
        failures: list[Exception] = []
        try:
            async with asyncio.timeout(_DELIVER_SECONDS):
                for number, _ in enumerate(claim.record.destinations or ()):
                    try:
                        await self._tell(claim, number)
                    except _REFUSED as refusal:
                        _log.warning("A rating is not taken (%s)", refusal)
                    except WorkspaceError as failure:
                        failures.append(failure)
        except TimeoutError as failure:
            failures.append(failure)
        if failures:
            await claim.release()
            raise RatingNotDeliveredError("; ".join(str(failure) or "no time left" for failure in failures))
        revision = claim.record.revision
        await claim.change(lambda record: record.model_copy(update={"delivered_revision": revision, "owner": ""}))

    async def _tell(self, claim: _Claim, number: int) -> None:
        match claim.destination(number).target:
            case GenieTarget(space, conversation, message) if self._genie is not None:
                rating = _GENIE_RATINGS[claim.record.reaction]
                await self._genie.rate_message(space, conversation, message, rating, claim.record.comment)
            case TraceTarget(trace_id):
                await self._assess(claim, number, trace_id)

    async def _assess(self, claim: _Claim, number: int, trace_id: str) -> None:
        record = claim.record
        assessment_id = claim.destination(number).assessment_id
        if claim.destination(number).is_creating:
            assessment_id = await self._assessments.find(trace_id, record.source_id) or ""
            await claim.set(number, assessment_id)
        feedback = HumanFeedback(record.reaction is Reaction.LIKE, record.comment, record.source_id)
        if assessment_id:
            try:
                if record.reaction is Reaction.NONE:
                    await self._assessments.delete(trace_id, assessment_id)
                else:
                    await self._assessments.update(trace_id, assessment_id, feedback)
                    return
            except WorkspaceNotFoundError:
                # Somebody has deleted it in MLflow.
                assessment_id = ""
            await claim.set(number, "")
        if record.reaction is not Reaction.NONE:
            await claim.set(number, await self._create(claim, number, trace_id, feedback))

    async def _create(self, claim: _Claim, number: int, trace_id: str, feedback: HumanFeedback) -> str:
        # A worker that vanishes now leaves it to the next to find out whether there is an assessment.
        await claim.set(number, "", is_creating=True)
        try:
            return await self._assessments.create(trace_id, feedback)
        except _NOT_DONE:
            await claim.set(number, "")
            raise


@dataclass(slots=True)
class _Claim:
    """`record` as it was claimed: what the person says meanwhile is delivered next. All methods raise
    `_ClaimLostError` and `StorageError`.
    """

    records: RatingRecords
    tenant: str
    rating: str
    record: RatingRecord

    def destination(self, number: int) -> Destination:
        assert self.record.destinations is not None
        return self.record.destinations[number]

    async def set(self, number: int, assessment_id: str, *, is_creating: bool = False) -> None:
        before = self.destination(number)
        after = before.model_copy(update={"assessment_id": assessment_id, "is_creating": is_creating})
        if after != before:
            await self.change(lambda record: record.with_destination(number, after))
            self.record = self.record.with_destination(number, after)

    async def release(self) -> None:
        await self.change(lambda record: record.model_copy(update={"owner": "", "lease_until": 0.0}))

    async def change(self, change: Callable[[RatingRecord], RatingRecord]) -> None:
        owner = self.record.owner

        def changed(record: RatingRecord | None) -> RatingRecord:
            if record is None or record.owner != owner:
                raise _ClaimLostError
            return change(record)

        await self.records.change(self.tenant, self.rating, changed)
