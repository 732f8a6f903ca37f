"""Mails that outlive the process: one for an incident, tried again while the mail server asks for patience.

A mail is stored before it is offered to a server, so a worker that dies loses none. If it dies between the server's
answer and its own note of it, the mail is sent again, under the same Message-ID.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

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
from app.resilience.retry import Backoff, retry
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError, StorageError

MAILS: Final = Collection("job_mails", retention_days=400)

# 1, 2, 4, 8, 16 minutes, then every half hour: about two hours in all, since greylisting wants minutes and an outage of
# a mail server may last an hour.
_ATTEMPTS: Final = Backoff(first_seconds=60.0, longest_seconds=1800.0, attempts=9, jitter=0.2)
# Longer than one attempt may take: then its worker has died.
_CLAIM_SECONDS = 300.0
# A mail that a newer version stored is looked at again after that.
_UNREADABLE_SECONDS = 3600.0
# An attempt that got no answer may have delivered the mail: there are two of them at most.
_MAX_UNCLEAR_ATTEMPTS = 2
_BATCH = 32
_WRITES = Backoff(first_seconds=0.5, attempts=3)

_UNCLEAR: Final = "The mail server did not say whether it took the mail: it may have arrived."

_log = logging.getLogger(__name__)

MailState = Literal["waiting", "sent", "failed"]


class Mail(BaseModel):
    """What became of the mail about one incident. Times are in seconds since 1970; 0 is never.

    Everybody in `recipients` is in one of `pending`, `delivered` and `refused`; `refused` also has what was no address.
    `state` is "waiting" as long as somebody is pending, "failed" where it reached nobody. `failure` is the last error
    in a sentence.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    incident_id: str
    content: MailContent
    recipients: tuple[str, ...]
    pending: tuple[str, ...]
    delivered: tuple[str, ...] = ()
    refused: tuple[RefusedRecipient, ...] = ()
    attempts: int = 0
    unclear_attempts: int = 0
    queued_at_seconds: float = 0.0
    delivered_at_seconds: float = 0.0
    next_attempt_at_seconds: float = 0.0
    failure: str = ""
    claim_id: str = ""

    @property
    def state(self) -> MailState:
        if self.pending:
            return "waiting"
        return "sent" if self.delivered else "failed"

    def given_up(self, reason: str) -> Mail:
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


@dataclass(frozen=True, slots=True)
class Enqueued:
    """`is_new` is False where the incident had its mail before: `mail` is that one."""

    mail: Mail
    is_new: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    mail: Mail
    server_is_unreachable: bool = False


class Outbox:
    """`clock` is in seconds since 1970. Methods raise `StorageError`."""

    def __init__(
        self,
        documents: DocumentStore,
        transport: MailTransport,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._documents = documents
        self._transport = transport
        self._clock = clock

    async def send(self, incident_id: str, content: MailContent, recipients: Sequence[str]) -> Enqueued:
        """Stores the mail and tries it once. For an incident that has a mail already this only returns that one.

        What the server does not take now is left to `deliver_due`. Raises `ValueError` for content that is too long.
        """
        now = self._clock()
        mail = new_mail(incident_id, content, recipients, now)
        claimed = mail.model_copy(update={"attempts": 1, "claim_id": uuid.uuid4().hex})
        due_at = now + _CLAIM_SECONDS if mail.pending else None
        try:
            document = await self._put(Document(_key(incident_id), claimed.model_dump_json(), due_at))
        except ConcurrentUpdateError:
            existing = await self.find(incident_id)
            return Enqueued(existing or mail, is_new=False)
        if not mail.pending:
            return Enqueued(mail, is_new=True)
        return Enqueued((await self._attempt(document, claimed)).mail, is_new=True)

    async def find(self, incident_id: str) -> Mail | None:
        document = await self._documents.get(_key(incident_id))
        return _parse(document) if document is not None else None

    async def deliver_due(self) -> list[Mail]:
        """Tries every mail whose next attempt is due; returns those that were tried.

        Stops at the first sign that the server cannot be reached, since each further mail would wait for it too.
        """
        tried: list[Mail] = []
        for document in await self._documents.due_before(MAILS, self._clock(), limit=_BATCH):
            claimed = await self._claim(document)
            if claimed is None:
                continue
            result = await self._attempt(*claimed)
            tried.append(result.mail)
            if result.server_is_unreachable:
                break
        return tried

    async def _claim(self, document: Document) -> tuple[Document, Mail] | None:
        now = self._clock()
        mail = _parse(document)
        try:
            if mail is None:
                _log.warning("A stored mail cannot be read by this version")
                await self._put(replace(document, due_at=now + _UNREADABLE_SECONDS))
                return None
            claimed = mail.model_copy(
                update={
                    "attempts": mail.attempts + 1,
                    # The worker that claimed it has died.
                    "unclear_attempts": mail.unclear_attempts + bool(mail.claim_id),
                    "claim_id": uuid.uuid4().hex,
                }
            )
            stored = replace(document, value=claimed.model_dump_json(), due_at=now + _CLAIM_SECONDS)
            return await self._put(stored), claimed
        except ConcurrentUpdateError:
            return None  # another worker has claimed it

    async def _attempt(self, document: Document, mail: Mail) -> Attempt:
        result = await attempt(self._transport, mail, self._clock)
        due_at = result.mail.next_attempt_at_seconds if result.mail.pending else None
        try:
            await self._put(replace(document, value=result.mail.model_dump_json(), due_at=due_at))
        except ConcurrentUpdateError:
            _log.warning("The attempt to send a mail took longer than its claim; another worker may have sent it too")
        return result

    async def _put(self, document: Document) -> Document:
        return await retry(lambda: self._documents.put(document), _WRITES.after(StorageError))


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


async def attempt(transport: MailTransport, mail: Mail, clock: Callable[[], float]) -> Attempt:
    """Offers the mail once to those who are pending, or gives it up after too many attempts without an answer."""
    if mail.unclear_attempts >= _MAX_UNCLEAR_ATTEMPTS:
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
        if unclear >= _MAX_UNCLEAR_ATTEMPTS:
            return Attempt(mail.given_up(_UNCLEAR), error.server_is_unreachable)
        return Attempt(_put_off(mail, clock()), error.server_is_unreachable)
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
    return _put_off(mail, now) if mail.pending else mail


def _put_off(mail: Mail, now: float) -> Mail:
    pause = _ATTEMPTS.pause_seconds(mail.attempts)
    if pause is None:
        return mail.given_up(mail.failure)
    return mail.model_copy(update={"next_attempt_at_seconds": now + pause, "claim_id": ""})


def _key(incident_id: str) -> DocumentKey:
    # `due_before` knows no tenants: whoever runs next sends what is due, so all mails are of one.
    return DocumentKey(MAILS, "job-watch", incident_id)


def _parse(document: Document) -> Mail | None:
    try:
        return Mail.model_validate_json(document.value)
    except ValidationError:
        return None
