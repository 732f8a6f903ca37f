"""Mails that outlive the process: one for an incident, tried again while the mail server asks for patience, always
under the same Message-ID.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Self

from app.jobs.mail.mail_content import MailContent
from app.jobs.mail.mail_transport import (
    MAX_REASON_CHARACTERS,
    MailError,
    MailTransport,
    RefusedRecipient,
    TemporaryMailError,
    split_addresses,
)
from app.jobs.mail.mime_message import mime_message
from app.jobs.notifications.outbox import MAX_UNCLEAR_ATTEMPTS, Attempt, Delivery, Outbox
from app.storage.documents import Collection, DocumentStore

MAILS: Final = Collection("job_mails", retention_days=400)

_UNCLEAR: Final = "The mail server did not say whether it took the mail: it may have arrived."

_log = logging.getLogger(__name__)

MailState = Literal["waiting", "sent", "failed"]


class Mail(Delivery):
    """What became of the mail about one incident.

    Everybody in `recipients` is in one of `pending`, `delivered` and `refused`; `refused` also has what was no address.
    `state` is "waiting" as long as somebody is pending, "failed" where it reached nobody.
    """

    incident_id: str
    content: MailContent
    recipients: tuple[str, ...]
    pending: tuple[str, ...]
    delivered: tuple[str, ...] = ()
    refused: tuple[RefusedRecipient, ...] = ()

    @property
    def state(self) -> MailState:
        if self.pending:
            return "waiting"
        return "sent" if self.delivered else "failed"

    @property
    def is_waiting(self) -> bool:
        return bool(self.pending)

    def given_up(self, reason: str) -> Self:
        """Without further attempts for those who are pending."""
        refused = tuple(RefusedRecipient(each, 0, reason[:MAX_REASON_CHARACTERS]) for each in self.pending)
        return self.model_copy(
            update={
                "pending": (),
                "refused": self.refused + refused,
                "next_attempt_at_seconds": 0.0,
                "failure": reason if refused else self.failure,
                "claim_id": "",
            }
        )


def mail_outbox(documents: DocumentStore, transport: MailTransport, *, clock: Callable[[], float]) -> Outbox[Mail]:
    """By incident: what is sent for one that has a mail already is that mail."""
    return Outbox(documents, MAILS, Mail, lambda mail: attempt(transport, mail, clock), clock=clock)


def new_mail(incident_id: str, content: MailContent, recipients: Sequence[str], now: float) -> Mail:
    """With those whose address cannot be used refused already."""
    usable, refused = split_addresses(recipients)
    failure = "" if usable else "There is nobody to send it to."
    return Mail(
        incident_id=incident_id,
        content=content,
        recipients=usable,
        pending=usable,
        refused=refused,
        queued_at_seconds=now,
        failure=failure,
    )


async def attempt(transport: MailTransport, mail: Mail, clock: Callable[[], float]) -> Attempt[Mail]:
    """Offers the mail once to those who are pending, or gives it up after too many attempts without an answer."""
    if mail.unclear_attempts >= MAX_UNCLEAR_ATTEMPTS:
        return Attempt(mail.given_up(_UNCLEAR))
    message = mime_message(
        mail.content,
        message_key=mail.incident_id,
        sender=transport.sender,
        recipients=mail.recipients,
        sent_at_seconds=mail.queued_at_seconds,
    )
    try:
        refused = await transport.send(message, mail.pending)
    except TemporaryMailError as error:
        _log.warning("A mail about a job was not taken", exc_info=error)
        unclear = mail.unclear_attempts + error.may_have_arrived
        mail = mail.model_copy(update={"failure": str(error), "unclear_attempts": unclear})
        if unclear >= MAX_UNCLEAR_ATTEMPTS:
            return Attempt(mail.given_up(_UNCLEAR), error.server_is_unreachable)
        return Attempt(mail.put_off(clock()), error.server_is_unreachable)
    except MailError as error:
        _log.error("A mail about a job cannot be sent", exc_info=error)
        return Attempt(mail.given_up(str(error)))
    return Attempt(_after_replies(mail, {each.address: each for each in refused}, clock()))


def _after_replies(mail: Mail, refused: Mapping[str, RefusedRecipient], now: float) -> Mail:
    delivered = tuple(each for each in mail.pending if each not in refused)
    mail = mail.model_copy(
        update={
            "pending": tuple(each for each in mail.pending if each in refused and refused[each].is_temporary),
            "delivered": mail.delivered + delivered,
            "delivered_at_seconds": now if delivered else mail.delivered_at_seconds,
            "refused": mail.refused + tuple(each for each in refused.values() if not each.is_temporary),
            "failure": next((each.reason for each in refused.values()), ""),
            "next_attempt_at_seconds": 0.0,
            "claim_id": "",
        }
    )
    return mail.put_off(now) if mail.pending else mail
