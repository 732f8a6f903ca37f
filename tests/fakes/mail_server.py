"""A mail server (aiosmtpd) in the test's own event loop: STARTTLS, AUTH, refusals, silence."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP as POLICY
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

REFUSED_LOGIN = AuthResult(success=False, handled=False)


@dataclass
class ReceivedMail:
    recipients: list[str]
    message: EmailMessage
    was_encrypted: bool
    signed_in_as: str


@dataclass
class MailServer:
    """`recipient_replies` and `data_replies` say what is answered instead of 250; of `data_replies` each once."""

    port: int = 0
    users: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    recipient_replies: dict[str, str] = field(default_factory=dict)
    data_replies: list[str] = field(default_factory=list)
    is_silent_after_data: bool = False
    received: list[ReceivedMail] = field(default_factory=list)
    greetings: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    connections: int = 0

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.greetings.append(hostname)
        return responses

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if reply := self.recipient_replies.get(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.is_silent_after_data:
            await asyncio.sleep(3600)
        if self.data_replies:
            return self.data_replies.pop(0)
        assert isinstance(envelope.content, bytes)
        message: Any = BytesParser(policy=POLICY).parsebytes(envelope.content)
        name = session.auth_data
        assert server.transport is not None
        is_encrypted = server.transport.get_extra_info("sslcontext") is not None
        self.received.append(ReceivedMail(list(envelope.rcpt_tos), message, is_encrypted, name or ""))
        return "250 taken"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        name = data.login.decode()
        self.logins.append(f"{mechanism} {name}")
        if self.users.get(name) == data.password.decode():
            return AuthResult(success=True, auth_data=name)
        return REFUSED_LOGIN

    async def auth_XOAUTH2(self, server: SMTP, arguments: list[str]) -> AuthResult:  # noqa: N802
        parts = dict(
            part.split("=", 1) for part in base64.b64decode(arguments[1]).decode().split("\x01") if "=" in part
        )
        name = parts["user"]
        self.logins.append(f"XOAUTH2 {name}")
        if parts["auth"] == f"Bearer {self.tokens.get(name)}":
            return AuthResult(success=True, auth_data=name)
        await server.push("334 eyJzdGF0dXMiOiI0MDEifQ==")
        await server._reader.readline()
        return REFUSED_LOGIN


@asynccontextmanager
async def running(
    server: MailServer, tls: ssl.SSLContext | None, *, implicit_tls: bool = False
) -> AsyncIterator[MailServer]:
    """`tls` None offers no encryption at all."""
    connections: list[asyncio.BaseTransport] = []

    class Protocol(SMTP):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            server.connections += not connections or transport not in connections
            connections.append(transport)
            super().connection_made(transport)

    def protocol() -> SMTP:
        return Protocol(
            server,
            hostname="mail.test",
            enable_SMTPUTF8=False,
            tls_context=None if implicit_tls else tls,
            require_starttls=tls is not None and not implicit_tls,
            authenticator=server.authenticate,
            auth_require_tls=False,
            loop=asyncio.get_running_loop(),
        )

    listening = await asyncio.get_running_loop().create_server(
        protocol, "127.0.0.1", 0, ssl=tls if implicit_tls else None
    )
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for each in connections:
            each.close()
        await listening.wait_closed()
