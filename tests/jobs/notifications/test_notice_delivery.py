"""Notices that wait in a real store for servers that refuse, hang up or are away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, time
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.config import SettingsError
from app.jobs.incidents.incident import IncidentRun, IncidentState, NoticeKind
from app.jobs.notifications.configured_targets import notice_outboxes, targets
from app.jobs.notifications.http_notifier import HttpNotifier
from app.jobs.notifications.incident_message import IncidentMessage
from app.jobs.notifications.notice_delivery import NoticeDelivery, NoticeOutbox, deliver_due
from app.jobs.notifications.notifier import Notice
from app.jobs.notifications.pagerduty import pagerduty_target
from app.jobs.notifications.slack import slack_target
from app.jobs.notifications.ticket import ticket_target
from app.jobs.notifications.webhook import webhook_target
from app.jobs.quiet_hours import QuietHours
from app.settings.job_notice_settings import JobNoticeSettings
from app.storage.documents import DocumentStore
from tests.fakes.clock import Clock
from tests.fakes.hook_server import HookServer, Reply, running
from tests.jobs.chat.sample_incidents import an_incident

KEY = "R0123456789abcdefghijklmnopqrstu"
BUSY = Reply(429, headers={"Retry-After": "600"})
BROKEN = Reply(500)


def a_notice(clock: Clock, id_: str = "n-1", kind: NoticeKind = "opened", **changes: Any) -> Notice:
    return Notice(id_, kind, clock.now, an_incident(**changes))


def kinds_of(tried: Sequence[NoticeDelivery]) -> list[NoticeKind]:
    return [each.message.kind for each in tried if isinstance(each.message, IncidentMessage)]


async def test_a_notice_is_told_once_however_often_it_is_stored_and_whoever_delivers(
    documents: DocumentStore, clock: Clock, server: HookServer
) -> None:
    target = webhook_target(server.url, KEY)
    watchers = [NoticeOutbox(documents, HttpNotifier(target, clock=clock), clock=clock) for _ in range(4)]
    notice = a_notice(clock)
    await asyncio.gather(*(each.notify(notice) for each in watchers))
    assert server.received == []
    tried = await asyncio.gather(*(each.deliver_due() for each in watchers))
    assert [delivery.state for each in tried for delivery in each] == ["sent"]
    await watchers[0].notify(notice)
    clock.now += 3600
    assert await watchers[1].deliver_due() == []
    assert len(server.received) == 1


async def test_each_attempt_has_the_same_id_and_a_signature_of_its_own(
    documents: DocumentStore, clock: Clock, server: HookServer
) -> None:
    server.replies = [BROKEN, Reply(hangs_up=True), BUSY]
    outbox = NoticeOutbox(documents, HttpNotifier(webhook_target(server.url, KEY), clock=clock), clock=clock)
    await outbox.notify(a_notice(clock))
    for _ in range(12):
        await outbox.deliver_due()
        clock.now += 150
    assert len(server.received) == 4
    times = [int(post.headers["webhook-timestamp"]) for post in server.received]
    # The third answer asked for ten minutes.
    assert [later - earlier for earlier, later in pairwise(times)] == [150, 150, 600]
    assert {post.headers["webhook-id"] for post in server.received} == {"n-1"}
    assert len({post.headers["webhook-timestamp"] for post in server.received}) == 4
    assert len({post.headers["webhook-signature"] for post in server.received}) == 4
    assert len({post.body for post in server.received}) == 1


@pytest.mark.parametrize(
    ("replies", "posts", "state"),
    [
        ([Reply(404)], 1, "failed"),
        ([BROKEN, Reply(403)], 2, "failed"),
        ([Reply(302, headers={"Location": "/x"})], 1, "failed"),
        ([BROKEN] * 30, 9, "failed"),
        ([Reply(hangs_up=True)] * 5, 6, "sent"),
    ],
)
async def test_a_notice_is_tried_as_often_as_the_answers_allow(
    documents: DocumentStore, clock: Clock, server: HookServer, replies: list[Reply], posts: int, state: str
) -> None:
    server.replies = [*replies]
    outbox = NoticeOutbox(documents, HttpNotifier(slack_target(server.url)), clock=clock)
    await outbox.notify(a_notice(clock))
    tried = []
    for _ in range(20):
        tried += await outbox.deliver_due()
        clock.now += 1900
    assert (len(server.received), tried[-1].state) == (posts, state)
    assert server.url not in tried[-1].model_dump_json()


async def test_a_target_that_is_away_holds_up_no_other(
    documents: DocumentStore, clock: Clock, server: HookServer
) -> None:
    async with running(HookServer()) as gone:
        pass
    away = NoticeOutbox(documents, HttpNotifier(slack_target(gone.url)), clock=clock)
    well = NoticeOutbox(documents, HttpNotifier(webhook_target(server.url, KEY), clock=clock), clock=clock)
    for number in range(40):
        notice = a_notice(clock, f"n-{number}", id=f"incident-{number}")
        await away.notify(notice)
        await well.notify(notice)
    tried = await deliver_due([away, well])
    assert [each.state for each in tried].count("sent") == 40
    assert [each.state for each in tried].count("waiting") == 1
    assert len(server.received) == 40
    assert [each.state for each in await deliver_due([away, well])] == ["waiting"]


async def test_an_alert_is_never_resolved_before_it_was_triggered(
    documents: DocumentStore, clock: Clock, server: HookServer
) -> None:
    server.replies = [BROKEN]
    target = pagerduty_target(KEY, url=server.url)
    outbox = NoticeOutbox(documents, HttpNotifier(target), clock=clock)
    await outbox.notify(a_notice(clock, "n-9"))
    await outbox.deliver_due()
    clock.now += 20
    await outbox.notify(a_notice(clock, "n-1", "recovered", state=IncidentState.RECOVERED))
    await outbox.notify(a_notice(clock, "n-2", id="another"))
    await outbox.deliver_due()
    clock.now += 3600
    assert [each.state for each in await outbox.deliver_due()] == ["sent", "sent"]
    told = [(post.json["event_action"], post.json["dedup_key"][:5]) for post in server.received]
    assert told == [("trigger", "5d414"), ("trigger", "anoth"), ("trigger", "5d414"), ("resolve", "5d414")]
    assert {post.json["routing_key"] for post in server.received} == {KEY}


async def test_one_ticket_is_made_for_an_incident_and_not_again_after_silence(
    documents: DocumentStore, clock: Clock, server: HookServer
) -> None:
    outbox = NoticeOutbox(documents, HttpNotifier(ticket_target(server.url)), clock=clock)
    await outbox.notify(a_notice(clock, "n-1"))
    await outbox.notify(a_notice(clock, "n-2", "escalated", state=IncidentState.ESCALATED))
    assert len(await outbox.deliver_due()) == 1
    assert len(server.received) == 1
    server.usual = Reply(hangs_up=True)
    await outbox.notify(a_notice(clock, "n-3", id="another"))
    for _ in range(20):
        await outbox.deliver_due()
        clock.now += 1900
    assert len(server.received) == 3


async def test_people_are_told_in_the_morning_in_order_and_of_many_jobs_at_once(
    documents: DocumentStore, clock: Clock, server: HookServer
) -> None:
    zone = ZoneInfo("Europe/Berlin")
    clock.now = datetime(2026, 11, 28, 3, 0, tzinfo=zone).timestamp()
    quiet = QuietHours(time(22), time(7), zone)
    outbox = NoticeOutbox(documents, HttpNotifier(slack_target(server.url)), quiet_hours=lambda _: quiet, clock=clock)
    runs = tuple(
        IncidentRun(key=f"{n}", run_id=n, job_id=n, job_name="", url="", ended_at_seconds=0.0) for n in range(20)
    )
    await outbox.notify(a_notice(clock, "n-9", "proposed"))
    clock.now += 60
    await outbox.notify(a_notice(clock, "n-1", "recovered", state=IncidentState.RECOVERED))
    await outbox.notify(a_notice(clock, "n-2", "escalated", runs=runs, state=IncidentState.ESCALATED))
    assert kinds_of(await outbox.deliver_due()) == ["escalated"]
    clock.now = datetime(2026, 11, 28, 7, 0, tzinfo=zone).timestamp()
    assert kinds_of(await outbox.deliver_due()) == ["proposed", "recovered"]
    assert [each.state for each in await outbox.deliver_due()] == []


async def test_the_settings_name_the_targets(documents: DocumentStore, clock: Clock, server: HookServer) -> None:
    assert notice_outboxes(JobNoticeSettings(), documents) == ()
    given = {
        "JOB_WEBHOOK_URL": server.url,
        "JOB_WEBHOOK_SECRET": KEY,
        "SLACK_WEBHOOK_URL": server.url,
        "PAGERDUTY_ROUTING_KEY": KEY,
        "PAGERDUTY_URL": server.url,
        "TICKET_URL": server.url,
        "TICKET_TEMPLATE": '{"summary": "{title}"}',
        "JOB_QUIET_HOURS": "",
    }
    settings = JobNoticeSettings.model_validate(given)
    outboxes = notice_outboxes(settings, documents, clock=clock)
    assert [each.name for each in outboxes] == ["webhook", "slack", "pagerduty", "ticket"]
    for outbox in outboxes:
        await outbox.notify(a_notice(clock))
    assert [each.state for each in await deliver_due(outboxes)] == ["sent"] * 4
    assert len(server.received) == 4


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"TICKET_URL": "https://x.example", "TICKET_TEMPLATE": '{"a": "{password}"}'}, "TICKET_TEMPLATE: .*password"),
        ({"JOB_WEBHOOK_URL": "https://x.example"}, "JOB_WEBHOOK_SECRET: .*no secret"),
        (
            {"JOB_WEBHOOK_URL": "https://x.example", "JOB_WEBHOOK_SECRET": "whsec_!!!!!!!!!!!!!!"},
            "JOB_WEBHOOK_SECRET: ",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(given: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as failure:
        targets(JobNoticeSettings.model_validate(given))
    assert "!!!!" not in str(failure.value)
