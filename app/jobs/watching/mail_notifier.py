"""Mails an incident to those whom its policy names: once, when a person has to know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from app.jobs.clean_text import clean_line, clean_url
from app.jobs.email_notifier import EmailNotifier
from app.jobs.history.decision_records import DecisionRecords, record_key
from app.jobs.incidents.incident import Incident, IncidentState
from app.jobs.job_policy import WatchMode
from app.jobs.mail.incident_mail import incident_mail
from app.jobs.mail.mail_content import MailContent, MailLink, MailSection, facts
from app.jobs.notifications.notifier import Notice

_NAME = 100
_SENTENCE = 300
_MAX_RUNS = 20
# Exchange Online refuses more than three at once, and another process may have one.
_MAX_CONNECTIONS = 2
_BY_ITSELF: Final = {IncidentState.APPROVED, IncidentState.DELAYED, IncidentState.RETRYING, IncidentState.RECOVERED}
_TITLES: Final = {"late": "is late", "never_started": "never started", "too_long": "runs for too long"}


class MailNotifier:
    """An `app.jobs.notifications.notifier.Notifier`. What is escalated is mailed; while only observing, and where no
    chat is told, what is opened or proposed is too. Who was mailed is added to the history.
    """

    name = "mail"

    def __init__(
        self,
        email: EmailNotifier,
        recipients_of: Callable[[Incident], Sequence[str]],
        records: DecisionRecords,
        *,
        is_told_in_chat: Callable[[Incident], Awaitable[bool]],
    ) -> None:
        self._email = email
        self._recipients_of = recipients_of
        self._records = records
        self._is_told_in_chat = is_told_in_chat
        self._connections = asyncio.Semaphore(_MAX_CONNECTIONS)
        self.mailed: dict[str, tuple[str, ...]] = {}
        """Of this notifier: whom it mailed, by incident."""

    async def notify(self, notice: Notice) -> None:
        incident = notice.incident
        if not await self._is_due(notice):
            return
        recipients = self._recipients_of(incident)
        if not recipients:
            return
        async with self._connections:
            enqueued = await self._email.put_async(_mail_id(incident), mail_of(incident), recipients)
        addresses = enqueued.delivery.recipients
        self.mailed[incident.id] = addresses
        for run in incident.runs:
            await self._records.update(record_key(run.ended_at_seconds, run.key), {"recipients": ",".join(addresses)})

    async def _is_due(self, notice: Notice) -> bool:
        if notice.kind == "escalated":
            return True
        if notice.kind not in {"opened", "proposed"}:
            return False
        if notice.incident.mode is WatchMode.OBSERVE:
            return True
        # An automatic retry needs nobody as long as it helps.
        return notice.incident.state not in _BY_ITSELF and not await self._is_told_in_chat(notice.incident)


def _mail_id(incident: Incident) -> str:
    """One mail for an incident, and one more where a retry did not help."""
    failed = sum(retry.outcome not in {"", "succeeded"} for retry in incident.retries)
    return f"{incident.id}/{failed}" if failed else incident.id


def mail_of(incident: Incident) -> MailContent:
    if incident.kind != "failure":
        return _timing_mail(incident)
    first = incident.failure
    others = (
        replace(first, run_id=run.run_id, job_id=run.job_id, job_name=run.job_name, url=run.url)
        for run in incident.runs[:_MAX_RUNS]
        if run.run_id != first.run_id
    )
    content = incident_mail([first, *others], incident.decision)
    return content if (section := _approval(incident)) is None else _with(content, section)


def _approval(incident: Incident) -> MailSection | None:
    """A command, and never a link: whoever reads the mail is not known to be an approver."""
    if incident.state is not IncidentState.PROPOSED or incident.proposal is None:
        return None
    return MailSection(
        title="To approve it",
        paragraphs=("Press Approve in the chat that watches the job, or run this where the store is:",),
        code=f"job-watch approve {incident.id}",
    )


def _with(content: MailContent, section: MailSection) -> MailContent:
    return content.model_copy(update={"sections": (*content.sections[:2], section, *content.sections[2:])})


def _timing_mail(incident: Incident) -> MailContent:
    job = clean_line(incident.job_name, _NAME) or f"Job {incident.job_id}"
    headline = f"{job} {_TITLES[incident.kind]}"
    rows = [("Workspace", clean_line(incident.workspace, _NAME)), ("Job", str(incident.job_id))]
    rows += [("Run", str(incident.failure.run_id))] if incident.failure.run_id else []
    url = clean_url(incident.failure.url)
    links = (MailLink(label=f"{job}, run {incident.failure.run_id}", url=url),) if url else ()
    cause = clean_line(incident.decision.cause, _SENTENCE)
    section = MailSection(title=headline, paragraphs=(cause,), facts=facts(rows), links=links)
    content = MailContent(subject=headline, sections=(section,))
    return content if (more := _approval(incident)) is None else _with(content, more)
