"""What the person reads who presses a button on the card of an incident."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.messaging import job_messages as verbs
from app.translation import Sentence

ACCEPTED: Final[Mapping[str, Sentence]] = {
    verbs.APPROVE_RETRY: Sentence("{name} approved it. The retry begins now, and this chat is told how it ends."),
    verbs.CHANGE_RETRY: Sentence(
        "{name} approved it with other parameters. The retry begins now, and this chat is told how it ends."
    ),
    verbs.ESCALATE: Sentence("{name} escalated it."),
    verbs.SKIP: Sentence("{name} skipped it: nothing is done about this failure."),
    verbs.SNOOZE: Sentence("Snoozed: nothing more is written about this for a while."),
    verbs.ACKNOWLEDGE: Sentence("Acknowledged, the card is brought up to date."),
    verbs.WRONG_DIAGNOSIS: Sentence("Thank you. I remember that this diagnosis was wrong."),
}

CANCEL_ACCEPTED: Final = Sentence("{name} approved it. The run is canceled now.")
NOW: Final = Sentence("Now")
GONE: Final = Sentence("There is nothing to decide here any more.")
UNKNOWN_PERSON: Final = Sentence("I do not know who you are here, so you cannot decide about jobs.")
NO_APPROVERS: Final = Sentence("Nobody may decide about this job yet: JOB_APPROVERS names no one for it.")
ASK_AN_APPROVER: Final = Sentence("You may not decide about this job. Please ask one of its approvers: {names}.")
NO: Final = Sentence("You may not decide about this job. Please ask one of its approvers.")
EXPIRED: Final = Sentence("This proposal expired at {time}, and nothing was done.")
RECOVERED: Final = Sentence("The job has recovered: there is nothing left to decide.")
DECIDED: Final = Sentence("{name} decided about this already.")
DECIDED_BY_OTHER: Final = Sentence("Somebody decided about this already.")
NOT_WAITING: Final = Sentence("This does not wait for a decision any more. The card above says where it stands.")
CLOSED: Final = Sentence("This is closed, and nothing more is done about it.")
NOTHING_ENTERED: Final = Sentence(
    "Your client did not send what you entered, so nothing was done. Please try it in Microsoft Teams on a computer."
)
NOTHING_CHANGED: Final = Sentence("No parameter was changed. Press Approve to retry as it is proposed.")
NOT_ALLOWED_VALUES: Final = Sentence("The retry was not begun: {problems}")
FOR_HOW_LONG: Final = Sentence("Please choose for how long.")
SAID_ALREADY: Final = Sentence("You said so already. Thank you.")
SAID_ENOUGH: Final = Sentence("Many people said so already. Thank you.")
TOO_LATE: Final = Sentence("{name} pressed a button, and it came too late: {reason}")
