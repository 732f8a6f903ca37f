"""Which incidents are mailed, to whom, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from email.message import Message
from typing import Any

import pytest

from app.jobs.email_notifier import EmailNotifier
from app.jobs.history.decision_records import DecisionRecords, record_key
from app.jobs.incidents.incident import Incident, IncidentRun, IncidentState, NoticeKind, Proposal, Retry
from app.jobs.job_policy import WatchMode
from app.jobs.mail.mail_transport import RefusedRecipient
from app.jobs.notifications.notifier import Notice
from app.jobs.watching.mail_notifier import MailNotifier, mail_of
from app.storage.documents import DocumentStore
from tests.jobs.history.sample_records import NOON, a_record
from tests.jobs.incidents.test_incident_store import WORKSPACE, an_incident

RUN = IncidentRun(key="456-1", run_id=456, job_id=123, job_name="nightly_etl", url="", ended_at_seconds=NOON)


class RecordingTransport:
    sender = "watch@example.com"

    def __init__(self) -> None:
        self.sent: list[tuple[str, tuple[str, ...]]] = []

    async def send(self, message: Message, recipients: Sequence[str]) -> tuple[RefusedRecipient, ...]:
        self.sent.append((str(message["Subject"]), tuple(recipients)))
        return ()

    async def test_connection(self) -> None:
        pass


def notice(kind: NoticeKind, incident: Incident) -> Notice:
    return Notice(f"n-{kind}", kind, NOON, incident)


def notifier_of(email: EmailNotifier, documents: DocumentStore, *, is_told_in_chat: bool = False) -> MailNotifier:
    async def is_told(_: Incident) -> bool:
        return is_told_in_chat

    records = DecisionRecords(documents, workspace=WORKSPACE)
    return MailNotifier(email, lambda _: ["team@example.com"], records, is_told_in_chat=is_told)


@pytest.mark.parametrize(
    ("kind", "mode", "in_chat", "is_mailed"),
    [
        ("escalated", WatchMode.AUTO, True, True),
        ("opened", WatchMode.OBSERVE, True, True),
        ("opened", WatchMode.AUTO, True, False),
        ("opened", WatchMode.AUTO, False, True),
        ("proposed", WatchMode.APPROVE, True, False),
        ("proposed", WatchMode.APPROVE, False, True),
        ("recovered", WatchMode.OBSERVE, False, False),
        ("repeated", WatchMode.OBSERVE, False, False),
    ],
)
async def test_a_person_is_mailed_what_is_escalated_and_what_no_chat_tells(
    documents: DocumentStore, kind: NoticeKind, mode: WatchMode, in_chat: bool, is_mailed: bool
) -> None:
    records = DecisionRecords(documents, workspace=WORKSPACE)
    key = record_key(NOON, RUN.key)
    await records.add(a_record(key=key))
    transport = RecordingTransport()

    email = EmailNotifier(transport, documents, clock=lambda: NOON)
    notifier = notifier_of(email, documents, is_told_in_chat=in_chat)
    incident = an_incident(mode=mode, runs=(RUN,))
    for _ in range(2):
        await notifier.notify(notice(kind, incident))
    assert transport.sent == [], "a mail server that is away would hold up the chats"
    for _ in range(2):
        await email.deliver_due_async()
    assert len(transport.sent) == is_mailed
    record = await records.find(key)
    assert record is not None
    assert record.recipients == ("team@example.com" if is_mailed else "")


async def test_no_more_than_two_mails_are_sent_at_once(documents: DocumentStore) -> None:
    open_now, most = 0, 0

    class SlowTransport(RecordingTransport):
        async def send(self, message: Message, recipients: Sequence[str]) -> tuple[RefusedRecipient, ...]:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            await asyncio.sleep(0)
            open_now -= 1
            return await super().send(message, recipients)

    transport = SlowTransport()
    email = EmailNotifier(transport, clock=lambda: NOON)
    notifier = notifier_of(email, documents)
    incidents = [an_incident(id=f"incident {number}") for number in range(8)]
    await asyncio.gather(*(notifier.notify(notice("opened", incident)) for incident in incidents))
    assert (len(transport.sent), most) == (8, 2)


def test_a_mail_about_a_proposal_says_how_to_approve_it_and_has_no_link_that_does() -> None:
    proposal = Proposal(id="p1", action="RETRY", run_id=456, expires_at_seconds=NOON)
    content = mail_of(an_incident(state=IncidentState.PROPOSED, proposal=proposal))
    shown = [section.code for section in content.sections if "approve" in section.title]
    assert shown == [f"job-watch approve {an_incident().id}"]


@pytest.mark.parametrize(
    ("kind", "said"), [("late", "is late"), ("never_started", "never started"), ("too_long", "runs for too long")]
)
def test_a_mail_about_a_job_that_did_not_fail_says_what_is_wrong(kind: Any, said: str) -> None:
    content = mail_of(an_incident(kind=kind))
    assert content.subject == f"nightly_etl {said}"


@pytest.mark.parametrize("state", [IncidentState.APPROVED, IncidentState.DELAYED, IncidentState.RETRYING])
async def test_an_automatic_retry_is_mailed_only_when_it_did_not_help(
    documents: DocumentStore, state: IncidentState
) -> None:
    transport = RecordingTransport()

    email = EmailNotifier(transport, documents, clock=lambda: NOON)
    notifier = notifier_of(email, documents)
    await notifier.notify(notice("opened", an_incident(mode=WatchMode.AUTO, state=state)))
    await email.deliver_due_async()
    assert transport.sent == []
    await notifier.notify(notice("escalated", an_incident(mode=WatchMode.AUTO, state=IncidentState.ESCALATED)))
    await email.deliver_due_async()
    assert len(transport.sent) == 1


async def test_a_proposal_that_was_mailed_and_did_not_help_is_mailed_again(documents: DocumentStore) -> None:
    transport = RecordingTransport()

    email = EmailNotifier(transport, documents, clock=lambda: NOON)
    notifier = notifier_of(email, documents)
    retry = Retry(id="r", proposal="p", of_run="k", kind="repair", run_id=456, started_at_seconds=1.0, outcome="failed")
    proposed = an_incident(mode=WatchMode.APPROVE, state=IncidentState.PROPOSED)
    await notifier.notify(notice("proposed", proposed))
    failed = proposed.model_copy(update={"state": IncidentState.ESCALATED, "retries": (retry,)})
    for _ in range(2):
        await notifier.notify(notice("escalated", failed))
    await email.deliver_due_async()
    assert len(transport.sent) == 2
