"""What each target is told of an incident, against golden files. Write them anew with GOLDEN=write."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.decisions.decision import Hypothesis
from app.jobs.incidents.incident import IncidentRun, IncidentState, NoticeKind
from app.jobs.notifications.incident_message import IncidentMessage, incident_message
from app.jobs.notifications.notice_delivery import NoticeDelivery
from app.jobs.notifications.notifier import Notice
from app.jobs.notifications.pagerduty import event_action, pagerduty_event
from app.jobs.notifications.slack import MAX_BLOCKS, MAX_TEXT_CHARACTERS, mrkdwn, slack_message
from app.jobs.notifications.ticket import SERVICENOW_TEMPLATE, TicketTemplate, ticket_target
from app.jobs.notifications.webhook import signed_post, signing_key, webhook_body
from app.storage.documents import MAX_DOCUMENT_CHARACTERS
from tests.jobs.chat.sample_incidents import ANN, DECISION, FAILURE, HOSTILE, NOW, an_incident, hostile_incident

GOLDEN = Path(__file__).parents[2] / "golden" / "job_notices"
SPOOF = "<!channel> <@U1> <https://evil.example|log in> & &lt;!here&gt; ```"
CASES = {
    "proposed": Notice("n-1", "proposed", NOW, an_incident()),
    "repeated_by_many_jobs": Notice(
        "n-2",
        "repeated",
        NOW,
        an_incident(
            run_count=12,
            runs=tuple(
                IncidentRun(
                    key=f"{number}",
                    run_id=number,
                    job_id=number,
                    job_name=f"job_{number}",
                    url=f"https://adb-123.azuredatabricks.net/jobs/{number}/runs/{number}?o=123",
                    ended_at_seconds=NOW,
                )
                for number in range(20, 32)
            ),
        ),
    ),
    "acknowledged": Notice("n-3", "changed", NOW, an_incident(acknowledged_by=ANN, note="On it"), "On it"),
    "recovered": Notice("n-4", "recovered", NOW, an_incident(state=IncidentState.RECOVERED, proposal=None)),
    "from_outside": Notice("n-5", "escalated", NOW, hostile_incident(), f"{HOSTILE} {SPOOF} dapi{'0' * 32}"),
}


def renderings(notice: Notice) -> dict[str, Any]:
    message = incident_message(notice)
    action = event_action(message)
    ticket = ticket_target("https://example.service-now.com/api/now/table/incident").render(message, NOW)
    return {
        "webhook": json.loads(webhook_body(message)),
        "slack": slack_message(message),
        "pagerduty": None if action is None else pagerduty_event(message, action),
        "ticket": None if ticket is None else json.loads(ticket.body),
    }


@pytest.mark.parametrize("name", CASES)
def test_the_message_is_the_golden_one_for_each_target(name: str) -> None:
    rendered = json.dumps(renderings(CASES[name]), indent=1, ensure_ascii=False) + "\n"
    golden = GOLDEN / f"{name}.json"
    if os.environ.get("GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(rendered, encoding="utf-8")
    assert rendered == golden.read_text(encoding="utf-8")


def test_nothing_secret_and_no_mention_is_in_what_is_told() -> None:
    for notice in CASES.values():
        said = renderings(notice)
        assert "0123456789abcdef" not in json.dumps(said)
        assert "0" * 32 not in json.dumps(said)
        slack = json.dumps(said["slack"], ensure_ascii=False)
        assert "<!" not in slack
        assert "<@" not in slack
        assert slack.count("<") == slack.count("<https://adb-123.") + slack.count("<https://x.example/")


def test_a_ticket_and_a_page_are_made_only_where_a_person_is_needed() -> None:
    retried = an_incident(state=IncidentState.RETRYING)
    skipped = an_incident(state=IncidentState.SKIPPED)
    escalated = an_incident(state=IncidentState.ESCALATED)
    acknowledged = an_incident(acknowledged_by=ANN)
    expected: list[tuple[NoticeKind, Any, str | None, bool]] = [
        ("opened", retried, None, False),
        ("retry_started", retried, None, False),
        ("retry_failed", escalated, "trigger", True),
        ("escalated", escalated, "trigger", True),
        ("decided", skipped, "resolve", False),
        ("decided", retried, None, False),
        ("opened", skipped, None, False),
        ("changed", acknowledged, "acknowledge", False),
        ("changed", an_incident(), None, False),
        ("repeated", acknowledged, "trigger", True),
        ("recovered", an_incident(state=IncidentState.RECOVERED), "resolve", False),
        # It recovered before anybody could be told.
        ("escalated", an_incident(state=IncidentState.RECOVERED), "resolve", False),
    ]
    ticket = ticket_target("https://x.example")
    for kind, incident, action, has_ticket in expected:
        message = incident_message(Notice("n", kind, NOW, incident))
        assert (event_action(message), ticket.render(message, NOW) is not None) == (action, has_ticket), kind


TEXTS = st.one_of(st.sampled_from(["<", "&", '"', "\\", "`", "表", "\ud800", "\x00", "a b", "{cause}"]), st.text())


def of_texts(text: str, count: int) -> IncidentMessage:
    long = text * count
    task = replace(FAILURE.tasks[0], task_key=long, error=long, message=long, termination_code=long)
    failure = replace(FAILURE, job_name=long, workspace=long, tasks=(task,) * 20, parameters={long: long})
    decision = replace(DECISION, cause=long, reason=long, hypotheses=(Hypothesis(long, long),) * 9)
    incident = an_incident(job_name=long, workspace=long, failure=failure, decision=decision, note=long)
    return incident_message(Notice("n", "escalated", NOW, incident, long))


@given(text=TEXTS, count=st.sampled_from([0, 1, 40, 3_000]))
def test_whatever_the_text_every_target_takes_what_it_is_told(text: str, count: int) -> None:
    message = of_texts(text, count)
    slack = slack_message(message)
    texts = [block["text"] for block in slack["blocks"] if "text" in block]
    fields = [field for block in slack["blocks"] for field in block.get("fields", ())]
    assert 0 < len(slack["blocks"]) <= MAX_BLOCKS
    assert all(0 < len(each["text"]) <= MAX_TEXT_CHARACTERS for each in texts)
    assert all(0 < len(each["text"]) <= 2_000 for each in fields)
    assert all(len(block.get("fields", ())) <= 10 for block in slack["blocks"])
    event = pagerduty_event(message, "trigger")
    assert 0 < len(event["payload"]["summary"]) <= 1_024
    assert len(json.dumps(event).encode()) < 512 * 1024
    assert len(event["dedup_key"]) <= 255
    assert json.loads(webhook_body(message))["data"]["title"] == message.title
    assert json.loads(TicketTemplate(SERVICENOW_TEMPLATE).ticket(message))["correlation_id"] == message.incident_id
    delivery = NoticeDelivery(id="i" * 100, message=message, failure="x" * 600)
    assert len(delivery.model_dump_json()) < MAX_DOCUMENT_CHARACTERS


@given(text=st.text(alphabet="&<>a;表", max_size=60), most=st.integers(1, 40))
def test_escaped_text_is_cut_between_escapes(text: str, most: int) -> None:
    shown = mrkdwn(text, most)
    assert len(shown) <= most
    plain = shown.removesuffix("…")
    assert mrkdwn(plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"), 1_000) == plain
    if not shown.endswith("…"):
        assert plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text


def test_the_signature_is_that_of_standard_webhooks() -> None:
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    post = signed_post(b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek", key, 1614265330.9)
    assert post.headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    plain = signed_post(b"{}", "id", signing_key("a shared secret of ours"), 5.0)
    digest = hmac.new(b"a shared secret of ours", b"id.5.{}", hashlib.sha256).digest()
    assert plain.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "whsec_ü"])
def test_a_secret_that_signs_nothing_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook") as failure:
        signing_key(secret)
    assert "not base64!" not in str(failure.value)


def test_a_template_is_filled_in_its_values_alone_and_once() -> None:
    incident = an_incident(job_name='"{cause}"\n', decision=replace(DECISION, cause='a "quote" \\ and {job}'))
    message = incident_message(Notice("n", "opened", NOW, incident))
    template = '{"{job}": ["{job}: {cause}", 5, null, {"x": "{ job } {} {JOB}"}], "u": "{url}"}'
    filled = json.loads(TicketTemplate(template).ticket(message))
    assert filled["{job}"] == ['"{cause}": a "quote" \\ and {job}', 5, None, {"x": "{ job } {} {JOB}"}]
    assert filled["u"] == FAILURE.url


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{", "not JSON"),
        ("[" * 7_000, "not JSON"),
        ("[]", "no JSON object"),
        ('{"a": "{password}"}', "{password}"),
        (json.dumps({"a": "{error}" * 51}), "placeholders"),
        (json.dumps({"a": "x" * 8_000}), "8000 characters"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused_at_the_start(template: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TicketTemplate(template)
