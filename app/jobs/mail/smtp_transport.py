"""Mail over SMTP, always encrypted: TLS from the start on port 465, STARTTLS on every other port (RFC 3207, 8314)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from email.message import Message
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from app.common.log_text import quoted
from app.jobs.mail.mail_transport import (
    MAX_REASON_CHARACTERS,
    AccessToken,
    MailError,
    PermanentMailError,
    RefusedRecipient,
    TemporaryMailError,
    usable_address,
)

if TYPE_CHECKING:
    import aiosmtplib

DEFAULT_PORT: Final = 587
_TLS_PORT = 465
_ANSWER_SECONDS = 20.0
# RFC 5321 allows a server ten minutes to take what it was sent; those that scan for viruses need some of them.
_DELIVERY_SECONDS = 120.0
_SEND_SECONDS = 150.0
_QUIT_SECONDS = 5.0


class SmtpTransport:
    """Signs in with `access_token` (XOAUTH2) if there is one, else with `password` if there is one, else not at all.

    `username` is the sender by default; `implicit_tls` is TLS from the start, by default on port 465. `tls_context` is
    for companies with an authority of their own. Raises `ValueError` for settings that cannot work.
    """

    def __init__(
        self,
        server: str,
        sender: str,
        *,
        port: int = DEFAULT_PORT,
        username: str = "",
        password: SecretStr | None = None,
        access_token: AccessToken | None = None,
        tls_context: ssl.SSLContext | None = None,
        implicit_tls: bool | None = None,
        answer_seconds: float = _ANSWER_SECONDS,
        delivery_seconds: float = _DELIVERY_SECONDS,
        send_seconds: float = _SEND_SECONDS,
    ) -> None:
        address = usable_address(sender)
        if address is None:
            raise ValueError("SENDER_EMAIL is not an email address")
        if not server or not 0 < port < 65_536:
            raise ValueError("SMTP_SERVER and SMTP_PORT do not name a mail server")
        self.sender = address
        self._server = server
        self._port = port
        self._username = username or address
        self._password = password
        self._access_token = access_token
        self._tls_context = tls_context
        self._implicit_tls = port == _TLS_PORT if implicit_tls is None else implicit_tls
        self._answer_seconds = answer_seconds
        self._delivery_seconds = delivery_seconds
        self._send_seconds = send_seconds

    async def send(self, message: Message, recipients: Sequence[str]) -> tuple[RefusedRecipient, ...]:
        import aiosmtplib  # noqa: PLC0415 - only a process that mails pays for it

        async with self._session() as client:
            takes_unicode = client.supports_extension("smtputf8")
            # One address that this server cannot write would keep the mail from everybody.
            offered = [each for each in recipients if each.isascii() or takes_unicode]
            refused = [
                RefusedRecipient(each, 0, "The mail server takes no addresses beyond ASCII.")
                for each in recipients
                if each not in offered
            ]
            if not offered:
                return tuple(refused)
            try:
                replies, _ = await client.send_message(
                    message, sender=self.sender, recipients=offered, timeout=self._delivery_seconds
                )
            except aiosmtplib.SMTPRecipientsRefused as error:
                return (*refused, *(_refused(each.recipient, each.code, each.message) for each in error.recipients))
        return (*refused, *(_refused(address, reply.code, reply.message) for address, reply in replies.items()))

    async def test_connection(self) -> None:
        async with self._session() as client:
            await client.noop()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiosmtplib.SMTP]:
        import aiosmtplib  # noqa: PLC0415

        client = aiosmtplib.SMTP(
            hostname=self._server,
            port=self._port,
            # The name of a container is no name that a mail server believes, and looking it up may take seconds.
            local_hostname=self.sender.rpartition("@")[2],
            timeout=self._answer_seconds,
            use_tls=self._implicit_tls,
            start_tls=False,
            tls_context=self._tls_context or await asyncio.to_thread(ssl.create_default_context),
        )
        is_signed_in, connection = False, None
        try:
            async with asyncio.timeout(self._send_seconds):
                await client.connect()
                await self._encrypt_and_sign_in(client)
                is_signed_in, connection = True, client.transport
                yield client
        except MailError:
            raise
        except (aiosmtplib.SMTPException, OSError, TimeoutError, UnicodeError, ValueError) as error:
            raise self._translated(error, may_have_arrived=is_signed_in) from error
        else:
            # The mail is sent: whatever the server says to QUIT changes nothing.
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=_QUIT_SECONDS)
        finally:
            connection = client.transport or connection
            client.close()
            if isinstance(connection, asyncio.Transport):
                # TLS would wait for the server to say goodbye too, longer than the event loop may live.
                connection.abort()

    async def _encrypt_and_sign_in(self, client: aiosmtplib.SMTP) -> None:
        await client.ehlo()
        if not self._implicit_tls:
            if not client.supports_extension("starttls"):
                raise PermanentMailError(
                    f"{self._name} offers no STARTTLS, so nothing was sent: use port 587 or {_TLS_PORT}."
                )
            await client.starttls()
            await client.ehlo()
        if self._access_token is None and self._password is None:
            return
        if not client.supports_extension("auth"):
            raise PermanentMailError(f"{self._name} offers no sign-in: leave out the password, or use another port.")
        if self._access_token is not None:
            await client.auth_xoauth2(self._username, await self._token(self._access_token))
        elif self._password is not None:
            # As bytes, since aiosmtplib takes text for ASCII.
            await client.login(self._username.encode(), self._password.get_secret_value().encode())

    async def _token(self, access_token: AccessToken) -> str:
        try:
            return await access_token()
        except Exception as error:
            raise TemporaryMailError(
                f"No access token for {self._name}: check the identity that sends mail.", server_is_unreachable=True
            ) from error

    def _translated(self, error: Exception, *, may_have_arrived: bool) -> MailError:
        import aiosmtplib  # noqa: PLC0415

        cause = error if isinstance(error, ssl.SSLError) else error.__cause__
        if isinstance(cause, ssl.SSLError):
            said = f"{self._name} could not be trusted, or speaks no TLS: check its certificate and SMTP_PORT."
            if isinstance(cause, ssl.SSLCertVerificationError):
                return PermanentMailError(said)
            return TemporaryMailError(said, may_have_arrived=may_have_arrived, server_is_unreachable=True)
        if isinstance(error, aiosmtplib.SMTPResponseException):
            said = f"{self._name} answered {error.code}: {quoted(error.message)}"
            if 400 <= error.code < 500:
                return TemporaryMailError(said, server_is_unreachable=error.code == 421)
            if isinstance(error, aiosmtplib.SMTPAuthenticationError):
                return PermanentMailError(
                    f"{said} Check SENDER_EMAIL and SENDER_PASSWORD; Exchange Online wants OAuth instead of a password."
                )
            return PermanentMailError(said)
        if isinstance(error, aiosmtplib.SMTPNotSupported | UnicodeError | ValueError):
            return PermanentMailError(f"{self._name} cannot take this mail or sign-in: {quoted(str(error))}")
        if isinstance(error, OSError | TimeoutError):
            return TemporaryMailError(
                f"{self._name} could not be reached or did not answer.",
                may_have_arrived=may_have_arrived,
                server_is_unreachable=True,
            )
        return PermanentMailError(f"{self._name} could not be used: {quoted(str(error))}")

    @property
    def _name(self) -> str:
        return f"The mail server {self._server}:{self._port}"


def _refused(address: str, code: int, reason: str) -> RefusedRecipient:
    return RefusedRecipient(address, code, quoted(reason)[:MAX_REASON_CHARACTERS])
