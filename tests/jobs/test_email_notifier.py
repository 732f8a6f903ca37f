"""The notifier with its outbox, from a failed run to a mail on a real mail server."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path

from pydantic import SecretStr

from app.jobs.email_notifier import EmailNotifier
from app.jobs.mail.incident_mail import incident_mail
from app.jobs.mail.smtp_transport import SmtpTransport
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes import certificate
from tests.fakes.clock import Clock
from tests.fakes.mail_server import MailServer, running
from tests.jobs.mail.test_incident_mail import DECISION, RUN

SENDER, ANN, BOB, EVE = "watch@contoso.com", "ann@contoso.com", "bob@contoso.com", "eve@contoso.com"


async def test_an_incident_is_mailed_once_though_the_server_is_choosy_and_the_process_starts_again(
    tmp_path: Path,
) -> None:
    tls, trusted = certificate.localhost(tmp_path)
    clock = Clock()
    store = SqliteStore(tmp_path / "agent.sqlite", clock=clock)
    server = MailServer(
        users={SENDER: "secret"},
        recipient_replies={BOB: "550 5.1.1 no such user", EVE: "450 4.2.0 greylisted"},
        data_replies=["451 4.3.0 later"],
    )
    async with running(server, tls):

        def notifier() -> EmailNotifier:
            transport = SmtpTransport(
                "localhost",
                SENDER,
                port=server.port,
                password=SecretStr("secret"),
                tls_context=ssl.create_default_context(cafile=trusted),
            )
            return EmailNotifier(transport, store.documents(), clock=clock)

        # The caller of the synchronous surface must not hold up the server, which lives in this event loop.
        connection = await asyncio.to_thread(notifier().test_connection)
        assert (connection.is_working, connection.message) == (True, f"Mails can be sent as {SENDER}.")
        content = incident_mail([RUN], DECISION)
        first = await asyncio.to_thread(notifier().send, "incident-1", content, [ANN, BOB, EVE])
        assert (first.delivery.state, server.received) == ("waiting", [])
        del server.recipient_replies[EVE]
        for _ in range(5):
            clock.now += 600
            await notifier().deliver_due_async()
            await notifier().send_async("incident-1", content, [ANN, BOB, EVE])
        mail = await notifier().find_async("incident-1")
    await store.close()
    assert mail is not None
    assert (mail.state, mail.delivered, [each.address for each in mail.refused]) == ("sent", (ANN, EVE), [BOB])
    assert [each.recipients for each in server.received] == [[ANN, EVE]]
    assert server.received[0].message["Subject"] == content.subject


def test_the_mail_library_is_imported_with_the_first_mail_alone() -> None:
    modules = "app.jobs, app.jobs.email_notifier, app.jobs.mail.smtp_transport"
    program = f"import sys, {modules}; print([each for each in sys.modules if each.startswith('aiosmtp')])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.strip() == "[]"
