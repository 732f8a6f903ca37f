"""The mail about an incident, against golden files. Write them anew with GOLDEN=write."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from app.jobs.decisions.decision import Decision, DecisionAction, Hypothesis
from app.jobs.mail.incident_mail import incident_mail
from app.jobs.mail.mail_content import MailContent
from app.jobs.mail.mail_rendering import as_html, as_text
from app.jobs.mail.mail_transport import MAX_RECIPIENTS
from app.jobs.mail.outbox import new_mail
from app.jobs.runs.run_failure import ClusterTermination
from app.storage.documents import MAX_DOCUMENT_CHARACTERS
from tests.jobs.chat import sample_incidents
from tests.jobs.chat.sample_incidents import FAILURE

GOLDEN = Path(__file__).parents[2] / "golden" / "job_mail"

TASK = replace(
    FAILURE.tasks[0],
    message="Task load_orders failed with message: Workload failed, see run output for details.",
    attempt_number=2,
    cluster=None,
)
RUN = replace(
    FAILURE,
    parameters={"batch_size": "500", "empty": "", "api_key": "0123456789abcdef"},
    started_at_seconds=1_795_744_800.0,
    ended_at_seconds=1_795_748_460.0,
    tasks=(TASK,),
    repair_ids=(1, 2),
    was_edited_since=True,
    newer_run="failed",
)
DECISION = replace(sample_incidents.DECISION, hypotheses=sample_incidents.DECISION.hypotheses[:1])
HOSTILE = '<b>**job**</b>\r\nBcc: eve@evil.test\u202e"'
CASES = {
    "one_run": incident_mail([RUN], DECISION),
    "many_jobs_on_lost_clusters": incident_mail(
        [
            replace(
                RUN,
                job_id=number,
                job_name=f"job_{number}",
                run_id=100 + number,
                parameters={},
                repair_ids=(),
                was_edited_since=False,
                newer_run="",
                tasks=(
                    replace(
                        TASK,
                        termination_code="CLUSTER_ERROR",
                        error="",
                        cluster=ClusterTermination("SPOT_INSTANCE_TERMINATION", "CLOUD_FAILURE", {}),
                    ),
                )
                * 7,
            )
            for number in range(13)
        ],
        Decision(
            DecisionAction.RETRY, "The cloud took the machines.", "Spot machines were lost.", (), {}, 1.0, "prior"
        ),
    ),
    "from_outside": incident_mail(
        [
            replace(
                RUN,
                job_name=HOSTILE,
                url='javascript:alert("1")',
                started_at_seconds=0.0,
                ended_at_seconds=1e300,
                parameters={HOSTILE: HOSTILE},
                tasks=(replace(TASK, task_key=HOSTILE, error=f"{HOSTILE}\ntoken=dapi{'0' * 32}"),),
            )
        ],
        Decision(DecisionAction.ESCALATE_EMAIL, HOSTILE, HOSTILE, (), {}, 0.0, "guard rail"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_mail_is_the_golden_one(name: str) -> None:
    content = CASES[name]
    for suffix, rendered in (("txt", f"Subject: {content.subject}\n\n{as_text(content)}"), ("html", as_html(content))):
        golden = GOLDEN / f"{name}.{suffix}"
        if os.environ.get("GOLDEN") == "write":
            golden.write_text(rendered, encoding="utf-8")
        assert rendered == golden.read_text(encoding="utf-8")


def test_nothing_secret_and_no_markup_from_outside_is_in_a_mail() -> None:
    for content in CASES.values():
        for rendered in (as_text(content), as_html(content)):
            assert "0123456789abcdef" not in rendered
            assert "0" * 32 not in rendered
        assert "<b>" not in as_html(content)
        assert "javascript:" not in as_html(content)
        assert "\n" not in content.subject


@pytest.mark.parametrize("filler", ['"', "<", "\\", "表", "\x00", "a b"])
def test_the_longest_mail_fits_into_the_store(filler: str) -> None:
    text = filler * 20_000
    task = replace(
        TASK, task_key=text, termination_code=text, termination_type=text, message=text, error=text + "\n" + text
    )
    run = replace(
        RUN,
        workspace=text,
        job_name=text,
        url="https://x.test/" + "a" * 485,
        termination_code=text,
        trigger=text,
        parameters={f"{n}{text}": text for n in range(100)},
        tasks=(task,) * 150,
    )
    decision = replace(
        DECISION,
        reason=text,
        cause=text,
        hypotheses=(Hypothesis(text, text),) * 10,
        suggested_params={f"{n}{text}": text for n in range(100)},
    )
    content: MailContent = incident_mail([run] * 300, decision)
    recipients = [f"{'n' * 60}{n}@{'.'.join(['contoso' * 8] * 3)}.com" for n in range(MAX_RECIPIENTS)]
    mail = new_mail("i" * 200, content, recipients + [f"no address {text}"] * MAX_RECIPIENTS, 1.0)
    mail = mail.given_up('"' * 600)
    assert len(mail.refused) == 2 * MAX_RECIPIENTS
    assert len(mail.model_dump_json()) < MAX_DOCUMENT_CHARACTERS
