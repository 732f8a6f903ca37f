"""Tells people by mail what became of an incident."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.jobs.environment import load_watch_settings
from app.jobs.mail.configured_transport import configured_transport
from app.jobs.mail.mail_content import MailContent
from app.jobs.mail.mail_transport import MailError, MailTransport
from app.jobs.mail.outbox import Mail, attempt, mail_outbox, new_mail
from app.jobs.notifications.outbox import Enqueued
from app.jobs.synchronous import run_synchronously
from app.storage.documents import DocumentStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConnectionTest:
    """True where mails can be sent; `message` is one sentence for a person."""

    is_working: bool
    message: str

    def __bool__(self) -> bool:
        return self.is_working


class EmailNotifier:
    """Without a `transport` it is the one of the process's settings, with its `.env` file: `SMTP_SERVER`, `SMTP_PORT`,
    `SENDER_EMAIL`, `SENDER_PASSWORD`, or Microsoft Graph; raises `app.config.SettingsError` where they name none.
    Without `documents` a mail is tried once and nothing is remembered: the same incident is mailed again.

    Each `_async` method has a synchronous one beside it, which also works where an event loop runs. `clock` is in
    seconds since 1970. Methods raise `app.storage.storage_errors.StorageError` where there are documents.
    """

    def __init__(
        self,
        transport: MailTransport | None = None,
        documents: DocumentStore | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport or configured_transport(load_watch_settings().mail)
        self._clock = clock
        self._outbox = None if documents is None else mail_outbox(documents, self._transport, clock=clock)

    def with_documents(self, documents: DocumentStore) -> EmailNotifier:
        """The same with an outbox in that store."""
        return EmailNotifier(self._transport, documents, clock=self._clock)

    async def send_async(self, incident_id: str, content: MailContent, recipients: Sequence[str]) -> Enqueued[Mail]:
        """Sends the one mail of this incident; returns what became of it. Raises no `MailError`."""
        mail = new_mail(incident_id, content, recipients, self._clock())
        if self._outbox is not None:
            return await self._outbox.send(incident_id, mail)
        if mail.pending:
            mail = (await attempt(self._transport, mail.model_copy(update={"attempts": 1}), self._clock)).delivery
        return Enqueued(mail.given_up(mail.failure), is_new=True)

    async def put_async(self, incident_id: str, content: MailContent, recipients: Sequence[str]) -> Enqueued[Mail]:
        """As `send_async`, but left to `deliver_due` where there are documents: a slow server holds up nobody."""
        if self._outbox is None:
            return await self.send_async(incident_id, content, recipients)
        mail = new_mail(incident_id, content, recipients, self._clock())
        return await self._outbox.put(incident_id, mail.model_copy(update={"next_attempt_at_seconds": self._clock()}))

    async def deliver_due_async(self) -> list[Mail]:
        """Tries again what the mail server did not take; to be called once a pass."""
        return [] if self._outbox is None else await self._outbox.deliver_due()

    async def find_async(self, incident_id: str) -> Mail | None:
        """Who was mailed what about this incident, and when."""
        return None if self._outbox is None else await self._outbox.find(incident_id)

    async def test_connection_async(self) -> ConnectionTest:
        """Connects and signs in, and sends nothing."""
        try:
            await self._transport.test_connection()
        except MailError as error:
            _log.warning("The mail connection does not work", exc_info=error)
            return ConnectionTest(False, str(error))
        return ConnectionTest(True, f"Mails can be sent as {self._transport.sender}.")

    def send(self, incident_id: str, content: MailContent, recipients: Sequence[str]) -> Enqueued[Mail]:
        return run_synchronously(lambda: self.send_async(incident_id, content, recipients))

    def deliver_due(self) -> list[Mail]:
        return run_synchronously(self.deliver_due_async)

    def find(self, incident_id: str) -> Mail | None:
        return run_synchronously(lambda: self.find_async(incident_id))

    def test_connection(self) -> ConnectionTest:
        return run_synchronously(self.test_connection_async)
