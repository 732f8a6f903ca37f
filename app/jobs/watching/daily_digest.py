"""Makes the digest once a day, for everybody who is told of incidents."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import time as time_of_day
from typing import Final
from zoneinfo import ZoneInfo

from app.jobs.chat.chat_digests import ChatDigests
from app.jobs.email_notifier import EmailNotifier
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.incidents.incident import Incident
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.incidents.runs_with_failures import RunsWithFailures
from app.jobs.mail.digest_mail import digest_mail
from app.jobs.notifications.digest import Digest, DigestPeriod, digest_of, last_period
from app.jobs.notifications.notice_delivery import NoticeOutbox
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError

DIGESTS: Final = Collection("job_digests", retention_days=30)

# A watch that begins in the afternoon, or was away all day, waits for the next morning.
_MAX_LATE_SECONDS = 6 * 3600.0
# Incidents that recovered yesterday may be that much older.
_OLDER_SECONDS = 3 * 24 * 3600.0
_MAX_INCIDENTS = 300


class DailyDigest:
    """At `at` in `zone`. `documents` outlive the process. `clock` is in seconds since 1970.

    What is told has the same id for whoever makes it: of several watches one tells it.
    """

    def __init__(
        self,
        documents: DocumentStore,
        incidents: IncidentStore,
        records: DecisionRecords,
        with_failures: RunsWithFailures,
        outboxes: Sequence[NoticeOutbox],
        *,
        workspace: str,
        at: time_of_day,
        zone: ZoneInfo,
        chats: ChatDigests | None = None,
        email: EmailNotifier | None = None,
        recipients: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._documents = documents
        self._incidents = incidents
        self._records = records
        self._with_failures = with_failures
        self._outboxes = outboxes
        self._workspace = workspace
        self._at = at
        self._zone = zone
        self._chats = chats
        self._email = email
        self._recipients = recipients
        self._clock = clock

    async def put_if_due(self) -> Digest | None:
        """The digest where it was made now. Raises `StorageError`."""
        now = self._clock()
        period = last_period(now, self._at, self._zone)
        key = DocumentKey(DIGESTS, self._workspace, period.date)
        if now - period.until_seconds > _MAX_LATE_SECONDS or await self._documents.get(key) is not None:
            return None
        with_failures = await self._with_failures.between(period.since_seconds, period.until_seconds)
        incidents = await self._found(period)
        digest = digest_of(incidents, with_failures, period, workspace=self._workspace)
        if self._chats is not None:
            await self._chats.put(incidents, with_failures, period, workspace=self._workspace)
        for outbox in self._outboxes:
            await outbox.put_digest(digest)
        if self._email is not None and self._recipients:
            await self._email.send_async(digest.id, digest_mail(digest), self._recipients)
        # Another watch may have made it at the same time.
        with suppress(ConcurrentUpdateError):
            await self._documents.put(Document(key, digest.title))
        return digest

    async def _found(self, period: DigestPeriod) -> list[Incident]:
        """Those that are open, and those of the runs that ended in the period or in the days before it."""
        found = {incident.id: incident for incident in await self._incidents.open()}
        since = period.since_seconds - _OLDER_SECONDS
        ids = {record.incident_id: None async for record in self._records.between(since, period.until_seconds)}
        # The latest matter most.
        for id_ in list(reversed(ids))[:_MAX_INCIDENTS]:
            if id_ and id_ not in found and (incident := await self._incidents.find(id_)) is not None:
                found[id_] = incident
        return list(found.values())
