"""Notices that outlive the process: each is told at least once to each target, in order for one incident."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal, Self

from app.common.concurrency import gather_or_cancel
from app.jobs.notifications.digest import Digest
from app.jobs.notifications.http_notifier import HttpNotifier
from app.jobs.notifications.incident_message import IncidentMessage, incident_message
from app.jobs.notifications.notice_timing import QuietHoursOf, held_until, passes_quiet_hours
from app.jobs.notifications.notifier import Notice, NotifyError
from app.jobs.notifications.outbox import MAX_UNCLEAR_ATTEMPTS, Attempt, Delivery, Outbox
from app.storage.documents import Collection, DocumentStore
from app.storage.storage_errors import StorageError

# When one that waits for an earlier notice of its incident is looked at again.
_BEHIND_SECONDS = 30.0
_MAX_UNCLEAR_REPEATS = 9
_UNCLEAR: Final = "The target did not say whether it took the notice: it may have arrived."

_log = logging.getLogger(__name__)


class NoticeDelivery(Delivery):
    """What became of a notice or a digest at one target. `id` begins with what it is about; an urgent one does not
    wait for earlier ones.
    """

    id: str
    message: IncidentMessage | Digest
    is_urgent: bool = False
    state: Literal["waiting", "sent", "failed"] = "waiting"

    @property
    def is_waiting(self) -> bool:
        return self.state == "waiting"

    def given_up(self, reason: str) -> Self:
        return self.model_copy(
            update={"state": "failed", "failure": reason, "next_attempt_at_seconds": 0.0, "claim_id": ""}
        )


class NoticeOutbox:
    """A `Notifier` that stores notices for `deliver_due`, which is to be called once a pass. One that is stored again
    is told once. Notices wait while it is quiet, and for earlier ones of their incident.

    `clock` is in seconds since 1970.
    """

    def __init__(
        self,
        documents: DocumentStore,
        notifier: HttpNotifier,
        *,
        quiet_hours: QuietHoursOf | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._notifier = notifier
        self._quiet_hours = quiet_hours
        self._clock = clock
        self._outbox = Outbox(documents, notices_of(notifier.name), NoticeDelivery, self._attempt, clock=clock)

    @property
    def name(self) -> str:
        return self._notifier.name

    async def notify(self, notice: Notice) -> None:
        """Raises `StorageError`."""
        now = self._clock()
        message = incident_message(notice)
        target = self._notifier.target
        if target.post_of(message, now) is None:
            return
        # Ids of one incident are in the order in which things happened.
        id_ = "once" if target.tells_once else f"{max(0, round(notice.at_seconds * 1000)):015d}/{notice.id}"
        held = held_until(notice, self._quiet_hours, now)
        await self._put(f"{message.incident_id}/{id_}", message, held, is_urgent=passes_quiet_hours(notice))

    async def put_digest(self, digest: Digest) -> None:
        """Raises `StorageError`."""
        if self._notifier.target.render_digest is not None:
            await self._put(f"{digest.id}/", digest, self._clock())

    async def _put(
        self, id_: str, message: IncidentMessage | Digest, at_seconds: float, *, is_urgent: bool = False
    ) -> None:
        delivery = NoticeDelivery(
            id=id_,
            message=message,
            is_urgent=is_urgent,
            queued_at_seconds=self._clock(),
            next_attempt_at_seconds=at_seconds,
        )
        await self._outbox.put(id_, delivery)

    async def deliver_due(self) -> list[NoticeDelivery]:
        """Those that were tried now. Raises `StorageError`."""
        return await self._outbox.deliver_due()

    async def _attempt(self, delivery: NoticeDelivery) -> Attempt[NoticeDelivery]:
        now = self._clock()
        # Only people are told what is urgent before what has waited for the morning.
        may_overtake = delivery.is_urgent and self._quiet_hours is not None
        if not may_overtake and await self._waits_behind(delivery):
            untried = delivery.model_copy(update={"attempts": delivery.attempts - 1})
            return Attempt(untried.put_off_until(now + _BEHIND_SECONDS))
        most_unclear = _MAX_UNCLEAR_REPEATS if self._notifier.target.may_repeat else MAX_UNCLEAR_ATTEMPTS
        if delivery.unclear_attempts >= most_unclear:
            return Attempt(delivery.given_up(_UNCLEAR))
        try:
            await self._notifier.tell(delivery.message)
        except NotifyError as error:
            return self._after(error, delivery)
        sent = {"state": "sent", "delivered_at_seconds": now, "next_attempt_at_seconds": 0.0, "claim_id": ""}
        return Attempt(delivery.model_copy(update=sent))

    def _after(self, error: NotifyError, delivery: NoticeDelivery) -> Attempt[NoticeDelivery]:
        if not error.is_temporary:
            _log.error("%s will not take a notice about a job", self.name, exc_info=error)
            return Attempt(delivery.given_up(str(error)))
        _log.warning("%s did not take a notice about a job", self.name, exc_info=error)
        unclear = delivery.unclear_attempts + error.may_have_arrived
        failed = delivery.model_copy(update={"failure": str(error), "unclear_attempts": unclear})
        put_off = failed.put_off(self._clock(), at_least_seconds=error.retry_after_seconds)
        return Attempt(put_off, error.is_unreachable)

    async def _waits_behind(self, delivery: NoticeDelivery) -> bool:
        first = await self._outbox.first_waiting(f"{delivery.id.partition('/')[0]}/")
        return "" < first < delivery.id


async def deliver_due(outboxes: Sequence[NoticeOutbox]) -> list[NoticeDelivery]:
    """To all targets at once; one that fails holds up no other."""
    tried = await gather_or_cancel(_deliver(outbox) for outbox in outboxes)
    return [delivery for each in tried for delivery in each]


def notices_of(target: str) -> Collection:
    return Collection(f"job_notices_{target}", retention_days=30)


async def _deliver(outbox: NoticeOutbox) -> list[NoticeDelivery]:
    try:
        return await outbox.deliver_due()
    except StorageError as error:
        _log.warning("Notices for %s cannot be delivered now", outbox.name, exc_info=error)
        return []
