"""What the person reads who presses a button on the card of an incident."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.messaging import job_messages as verbs
from app.translation import Sentence

ACCEPTED: Final[Mapping[str, Sentence]] = {
    verbs.APPROVE_RETRY: Sentence("{name} approved the retry. It starts now, and I will post the result here."),
    verbs.CHANGE_RETRY: Sentence(
        "{name} approved the retry with changed parameters. It starts now, and I will post the result here."
    ),
    verbs.ESCALATE: Sentence("{name} escalated it."),
    verbs.SKIP: Sentence("{name} skipped it. No action will be taken."),
    verbs.SNOOZE: Sentence("Snoozed. I will post nothing more about this for now."),
    verbs.ACKNOWLEDGE: Sentence("Acknowledged. The card will be updated."),
    verbs.WRONG_DIAGNOSIS: Sentence("Thank you. I will remember that this diagnosis was wrong."),
}

CANCEL_ACCEPTED: Final = Sentence("{name} approved canceling the run. It is being canceled now.")
NOW: Final = Sentence("Now")
GONE: Final = Sentence("There is nothing left to decide here.")
UNKNOWN_PERSON: Final = Sentence("I cannot tell who you are here, so I cannot accept your decision.")
NO_APPROVERS: Final = Sentence(
    "This job has no approvers yet. Please ask your administrator to add them to JOB_APPROVERS."
)
ASK_AN_APPROVER: Final = Sentence("You are not an approver of this job. Please ask one of its approvers: {names}.")
NO: Final = Sentence("You are not an approver of this job. Please ask one of its approvers.")
EXPIRED: Final = Sentence("This proposal expired at {time}, and nothing was done.")
RECOVERED: Final = Sentence("The job has recovered, so there is nothing left to decide.")
DECIDED: Final = Sentence("{name} has already decided this.")
DECIDED_BY_OTHER: Final = Sentence("Somebody has already decided this.")
NOT_WAITING: Final = Sentence("This is no longer waiting for a decision. The card above shows its current state.")
CLOSED: Final = Sentence("This is closed, and no further action will be taken.")
NOTHING_ENTERED: Final = Sentence(
    "Your app did not send what you entered, so nothing was done. Please try again in Microsoft Teams on a computer."
)
NOTHING_CHANGED: Final = Sentence("No parameter was changed. Press Approve to retry as proposed.")
NOT_ALLOWED_VALUES: Final = Sentence("The retry was not started: {problems}")
FOR_HOW_LONG: Final = Sentence("Please choose how long to snooze this.")
SAID_ALREADY: Final = Sentence("You have already reported this. Thank you.")
SAID_ENOUGH: Final = Sentence("Enough people have already reported this. Thank you.")
TOO_LATE: Final = Sentence("{name} pressed a button too late: {reason}")
