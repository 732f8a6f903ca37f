"""The verbs of a card about a failed job, and the kinds of queue messages: news of one for chats, and a run to
look at.
"""

from __future__ import annotations

from typing import Final

APPROVE_RETRY: Final = "approve_job_retry"
CHANGE_RETRY: Final = "change_job_retry"
ESCALATE: Final = "escalate_job"
SKIP: Final = "skip_job"
SNOOZE: Final = "snooze_job"
ACKNOWLEDGE: Final = "acknowledge_job"
WRONG_DIAGNOSIS: Final = "wrong_job_diagnosis"
JOB_VERBS: Final = (APPROVE_RETRY, CHANGE_RETRY, ESCALATE, SKIP, SNOOZE, ACKNOWLEDGE, WRONG_DIAGNOSIS)

INCIDENT: Final = "incident"
"""The field of a button's data that names the incident."""

JOB_NOTICE_KIND: Final = "job_notice"
JOB_RUN_KIND: Final = "job_run"
