"""A mail as a MIME message: text and HTML, marked as written by a program."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from email.header import Header
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formatdate

from app.jobs.clean_text import clean_line
from app.jobs.mail.mail_content import MAX_SUBJECT_CHARACTERS, MailContent
from app.jobs.mail.mail_rendering import as_html, as_text


def mime_message(
    content: MailContent, *, message_key: str, sender: str, recipients: Sequence[str], sent_at_seconds: float
) -> Message:
    """The same `message_key` gives the same Message-ID, by which mail programs may recognise a repeat.

    `sent_at_seconds` is since 1970. The addresses are those that `usable_address` returns.
    """
    # Not EmailMessage: it folds subjects beyond ASCII into words that RFC 2047 forbids and some servers refuse
    # (python/cpython issues 136052, 144156).
    message = MIMEMultipart("alternative")
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = _encoded(clean_line(content.subject, MAX_SUBJECT_CHARACTERS))
    message["Date"] = formatdate(sent_at_seconds)
    message["Message-ID"] = f"<{hashlib.sha256(message_key.encode()).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"
    # No out-of-office replies: RFC 3834, and what Exchange wants for the same.
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message.attach(MIMEText(as_text(content), "plain", "utf-8"))
    message.attach(MIMEText(as_html(content), "html", "utf-8"))
    return message


def _encoded(subject: str) -> str:
    # What looks like an encoded word is encoded too, so that it is shown as it is.
    charset = "us-ascii" if subject.isascii() and "=?" not in subject else "utf-8"
    return Header(subject, charset, header_name="Subject").encode()
