"""The digest of a day, against golden files (write them anew with GOLDEN=write), and the day that it is of."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.incidents.incident import Incident, IncidentState, Retry
from app.jobs.mail.digest_mail import digest_mail
from app.jobs.mail.mail_rendering import as_text
from app.jobs.notifications.digest import Digest, DigestPeriod, digest_of, last_period
from app.jobs.notifications.notice_delivery import NoticeDelivery
from app.jobs.notifications.slack import MAX_TEXT_CHARACTERS, slack_digest
from app.jobs.notifications.webhook import digest_body
from app.jobs.runs.look import EndedRun
from app.storage.documents import MAX_DOCUMENT_CHARACTERS
from tests.jobs.chat.sample_incidents import DECISION, FAILURE, HOSTILE, an_incident, hostile_incident

GOLDEN = Path(__file__).parents[2] / "golden" / "job_digest"
BERLIN = ZoneInfo("Europe/Berlin")
MORNING = datetime(2026, 11, 27, 8, 0, tzinfo=BERLIN).timestamp()
PERIOD = DigestPeriod(MORNING - 86_400, MORNING, BERLIN)
WORKSPACE = "https://adb-123.azuredatabricks.net"
HOUR = 3600.0


def incident(name: str, state: IncidentState, opened_hours_ago: float, **changes: object) -> Incident:
    opened = MORNING - opened_hours_ago * HOUR
    times = {"opened_at_seconds": opened, "changed_at_seconds": opened}
    return an_incident(id=name, job_name=name, state=state, **times | changes)


def with_failures(number: int, ended_hours_ago: float = 3.0, name: str = "loose_etl") -> EndedRun:
    return EndedRun(
        key=f"{number}-1",
        run_id=number,
        job_id=5,
        job_name=name,
        url=f"{WORKSPACE}/jobs/5/runs/{number}",
        started_at_seconds=0.0,
        ended_at_seconds=MORNING - ended_hours_ago * HOUR,
        termination_code="SUCCESS_WITH_FAILURES",
        run_type="JOB_RUN",
        trigger="PERIODIC",
    )


RETRY = Retry(
    id="r", proposal="p", of_run="70-1", kind="repair", run_id=70, started_at_seconds=1.0, outcome="succeeded"
)
DAY = [
    incident("failed_last_night", IncidentState.ESCALATED, 5, proposal=None, run_count=3),
    incident("failed_in_observe", IncidentState.OPEN, 6),
    incident("waits_for_days", IncidentState.PROPOSED, 60),
    incident("repaired", IncidentState.RECOVERED, 7, retries=(RETRY,)),
    incident("recovered_of_an_older_failure", IncidentState.RECOVERED, 60, changed_at_seconds=MORNING - HOUR),
    incident("late", IncidentState.OPEN, 4, kind="late", proposal=None, run_count=0),
    incident("skipped", IncidentState.SKIPPED, 3),
    incident("recovered_days_ago", IncidentState.RECOVERED, 60),
    incident("after_the_digest", IncidentState.OPEN, -1),
    hostile_incident().model_copy(update={"state": IncidentState.RECOVERED, "opened_at_seconds": MORNING - HOUR}),
]
RUNS = [with_failures(81), with_failures(80), with_failures(82, 30), with_failures(83, -1)]
CASES = {
    "a_day": digest_of(DAY, RUNS, PERIOD, workspace=WORKSPACE),
    "nothing_failed": digest_of([], [], PERIOD, workspace=WORKSPACE),
    "many": digest_of(
        [incident(f"job_{n:03}", IncidentState.ESCALATED, 5) for n in range(300)], [], PERIOD, workspace=WORKSPACE
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_digest_is_the_golden_one(name: str) -> None:
    digest = CASES[name]
    content = digest_mail(digest)
    shown = {"slack": slack_digest(digest), "webhook": json.loads(digest_body(digest))}
    texts = {
        "txt": f"Subject: {content.subject}\n\n{as_text(content)}",
        "json": json.dumps(shown, indent=1, ensure_ascii=False) + "\n",
    }
    for suffix, rendered in texts.items():
        golden = GOLDEN / f"{name}.{suffix}"
        if os.environ.get("GOLDEN") == "write":
            golden.parent.mkdir(exist_ok=True)
            golden.write_text(rendered, encoding="utf-8")
        assert rendered == golden.read_text(encoding="utf-8")


def test_each_incident_is_in_one_section() -> None:
    sections = {section.name: [line.job for line in section.lines] for section in CASES["a_day"].sections}
    hostile = sections["recovered"].pop()
    assert sections == {
        "failed": ["failed_in_observe", "failed_last_night"],
        "waiting": ["waits_for_days"],
        "late": ["late"],
        "recovered": ["recovered_of_an_older_failure", "repaired"],
        "with_failures": ["loose_etl", "loose_etl"],
    }
    assert "evil.example" in hostile
    assert "<https://evil" not in json.dumps(slack_digest(CASES["a_day"]))


@pytest.mark.parametrize("filler", ['"', "<", "\\", "表", "&", HOSTILE])
def test_the_longest_digest_fits_into_the_store_and_into_slack(filler: str) -> None:
    text = filler * 1_000
    failure = replace(FAILURE, job_name=text, url="https://x.test/" + "a" * 480)
    decision = replace(DECISION, cause=text, reason=text)
    states = [IncidentState.OPEN, IncidentState.PROPOSED, IncidentState.RECOVERED]
    incidents = [
        incident(f"{n}", states[n % 3], 5, failure=failure, decision=decision).model_copy(update={"job_name": text})
        for n in range(150)
    ]
    late = [each.model_copy(update={"kind": "late", "id": f"late-{each.id}"}) for each in incidents[::3]]
    runs = [with_failures(n, name=text) for n in range(100)]
    digest = digest_of([*incidents, *late], runs, PERIOD, workspace=text)
    assert {each.count for each in digest.sections} == {50, 100}
    assert len(NoticeDelivery(id="i" * 300, message=digest).model_dump_json()) < MAX_DOCUMENT_CHARACTERS
    assert len(digest_mail(digest).model_dump_json()) < MAX_DOCUMENT_CHARACTERS
    for block in slack_digest(digest)["blocks"]:
        assert len(block["text"]["text"]) <= MAX_TEXT_CHARACTERS
        assert "… +" in block["text"]["text"] or block == slack_digest(digest)["blocks"][0]
    assert Digest.model_validate_json(digest.model_dump_json()) == digest


@given(
    now=st.integers(0, 4_000_000_000),
    at=st.times().map(lambda each: each.replace(microsecond=0)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Nuuk"]),
)
def test_days_follow_one_another_without_a_gap_also_where_clocks_change(now: int, at: time, zone: str) -> None:
    period = last_period(now, at, ZoneInfo(zone))
    assert period.since_seconds < period.until_seconds <= now
    assert now - period.until_seconds <= timedelta(hours=26).total_seconds()
    assert 22 * HOUR <= period.until_seconds - period.since_seconds <= 26 * HOUR
    before = last_period(period.until_seconds - 1, at, ZoneInfo(zone))
    assert before.until_seconds == period.since_seconds
    assert before.date != period.date
