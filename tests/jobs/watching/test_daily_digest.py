"""The digest that several watches make once a day, over a real store and a server that takes it."""

from __future__ import annotations

import asyncio
from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest

from app.jobs.email_notifier import EmailNotifier
from app.jobs.history.decision_record import DecisionRecord
from app.jobs.history.decision_records import DecisionRecords, record_key
from app.jobs.incidents.incident import IncidentState
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.incidents.runs_with_failures import RunsWithFailures
from app.jobs.notifications.http_notifier import HttpNotifier
from app.jobs.notifications.notice_delivery import NoticeOutbox, deliver_due
from app.jobs.notifications.pagerduty import pagerduty_target
from app.jobs.notifications.slack import slack_target
from app.jobs.notifications.ticket import ticket_target
from app.jobs.notifications.webhook import webhook_target
from app.jobs.watching.daily_digest import DailyDigest
from app.storage.documents import DocumentStore
from tests.fakes.clock import Clock
from tests.fakes.hook_server import HookServer, Reply
from tests.jobs.chat.sample_incidents import an_incident
from tests.jobs.mail.test_outbox import ScriptedTransport
from tests.jobs.notifications.test_digest import with_failures

KEY = "R0123456789abcdefghijklmnopqrstu"
WORKSPACE = "https://adb-123.azuredatabricks.net"
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0
MORNING = datetime(2026, 11, 27, 8, 0, tzinfo=BERLIN).timestamp()


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.now = MORNING + 60
    return clock


class Watch:
    def __init__(self, documents: DocumentStore, clock: Clock, url: str, transport: ScriptedTransport) -> None:
        targets = [
            webhook_target(url, KEY),
            slack_target(url),
            pagerduty_target(KEY, url=url),
            ticket_target(url),
        ]
        self.outboxes = [NoticeOutbox(documents, HttpNotifier(target, clock=clock), clock=clock) for target in targets]
        self.incidents = IncidentStore(documents, workspace=WORKSPACE)
        self.records = DecisionRecords(documents, workspace=WORKSPACE)
        self.with_failures = RunsWithFailures(documents, workspace=WORKSPACE)
        self.digest = DailyDigest(
            documents,
            self.incidents,
            self.records,
            self.with_failures,
            self.outboxes,
            workspace=WORKSPACE,
            at=time(8),
            zone=BERLIN,
            email=EmailNotifier(transport, documents, clock=clock),
            recipients=["team@contoso.com"],
            clock=clock,
        )

    async def add_incident(self, name: str, state: IncidentState, hours_ago: float) -> None:
        at = MORNING - hours_ago * HOUR
        times = {"opened_at_seconds": at, "changed_at_seconds": MORNING - HOUR}
        incident = an_incident(
            id=name, job_name=name, state=state, workspace=WORKSPACE, error_fingerprint=name, **times
        )
        await self.incidents.create(incident)
        record = DecisionRecord(
            key=record_key(at, name),
            pass_id="p",
            at="",
            workspace=WORKSPACE,
            mode="observe",
            run_id=1,
            job_id=1,
            job_name=name,
            decision="RETRY",
            cause="",
            reason="",
            source="prior",
            action="proposed",
            incident_id=name,
        )
        await self.records.add(record)


async def test_one_digest_a_day_reaches_slack_the_webhook_and_mail_whoever_makes_it(
    documents: DocumentStore, clock: Clock, server: HookServer
) -> None:
    transport = ScriptedTransport()
    watches = [Watch(documents, clock, server.url, transport) for _ in range(3)]
    await watches[0].add_incident("open_one", IncidentState.OPEN, 3)
    await watches[0].add_incident("recovered_one", IncidentState.RECOVERED, 50)
    await watches[0].with_failures.add([with_failures(81), with_failures(80, 26)])
    await watches[1].with_failures.add([with_failures(81)])
    await asyncio.gather(*(each.digest.put_if_due() for each in watches))
    await asyncio.gather(*(deliver_due(each.outboxes) for each in watches))
    assert len(server.received) == 2
    (event,) = [post.json for post in server.received if "webhook-id" in post.headers]
    shown = {each["name"]: [line["job"] for line in each["lines"]] for each in event["data"]["sections"]}
    assert shown == {"failed": ["open_one"], "recovered": ["recovered_one"], "with_failures": ["loose_etl"]}
    assert [recipients for _, recipients in transport.sent] == [("team@contoso.com",)]
    assert [await each.digest.put_if_due() for each in watches] == [None] * 3
    clock.now += 24 * HOUR
    tomorrow = await watches[1].digest.put_if_due()
    assert tomorrow is not None
    assert tomorrow.date == "2026-11-28"


async def test_a_digest_that_nobody_takes_now_is_told_later(
    documents: DocumentStore, clock: Clock, server: HookServer
) -> None:
    server.replies = [Reply(503), Reply(503)]
    watch = Watch(documents, clock, server.url, ScriptedTransport())
    assert await watch.digest.put_if_due() is not None
    await deliver_due(watch.outboxes)
    clock.now += 61
    assert [each.state for each in await deliver_due(watch.outboxes)] == ["sent", "sent"]
    assert "No watched job has failed" in str(server.received[-1].json)


@pytest.mark.parametrize(("hours", "is_made"), [(0.0, True), (5.9, True), (6.1, False), (23.0, False)])
async def test_a_watch_that_begins_in_the_afternoon_waits_for_the_morning(
    documents: DocumentStore, clock: Clock, hours: float, is_made: bool
) -> None:
    clock.now = MORNING + hours * HOUR
    watch = Watch(documents, clock, "https://x.example", ScriptedTransport())
    assert (await watch.digest.put_if_due() is not None) == is_made
