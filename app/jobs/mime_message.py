"""A mail as a MIME message: text and HTML, marked as written by a program."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP

from app.jobs.mail_content import MailContent
from app.jobs.mail_rendering import as_html, as_text


def mime_message(
    content: MailContent, *, message_key: str, sender: str, recipients: Sequence[str], sent_at_seconds: float
) -> EmailMessage:
    """The same `message_key` gives the same Message-ID, by which mail servers may recognise a repeat.

    `sent_at_seconds` is since 1970. The addresses are those that `usable_address` returns.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(addr_spec=sender)
    message["To"] = [Address(addr_spec=each) for each in recipients]
    message["Subject"] = content.subject
    message["Date"] = datetime.fromtimestamp(sent_at_seconds, UTC)
    message["Message-ID"] = f"<{hashlib.sha256(message_key.encode()).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"
    # No out-of-office replies: RFC 3834, and what Exchange wants for the same.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(as_text(content))
    message.add_alternative(as_html(content), subtype="html")
    return message
