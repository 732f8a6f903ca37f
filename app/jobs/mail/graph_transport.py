"""Mail through Microsoft Graph, for tenants that have SMTP switched off. Needs the application permission Mail.Send.

https://learn.microsoft.com/graph/api/user-sendmail (MIME format)
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from email.message import Message
from email.policy import SMTP
from typing import Final
from urllib.parse import quote

import aiohttp

from app.common.http_body import json_object, read_beginning
from app.common.http_session import HttpSession
from app.common.log_text import name_or_empty, quoted
from app.jobs.mail.mail_transport import (
    AccessToken,
    MailError,
    PermanentMailError,
    RefusedRecipient,
    TemporaryMailError,
    usable_address,
)

GRAPH_URL: Final = "https://graph.microsoft.com"
_SEND_SECONDS = 60.0
_MAX_ERROR_BYTES = 16 * 1024
_NOT_TAKEN_YET = {408, 429, 503}


class GraphTransport:
    """Sends from the mailbox `sender`. `graph_url` is another one in national clouds.

    `access_token` is for the resource `graph_url`. Raises `ValueError` for a sender that is no address.
    """

    def __init__(
        self, sender: str, access_token: AccessToken, *, graph_url: str = GRAPH_URL, send_seconds: float = _SEND_SECONDS
    ) -> None:
        address = usable_address(sender)
        if address is None:
            raise ValueError("SENDER_EMAIL is not an email address")
        self.sender = address
        self._access_token = access_token
        self._url = f"{graph_url.rstrip('/')}/v1.0/users/{quote(address, safe='@')}/sendMail"
        self._send_seconds = send_seconds

    async def send(self, message: Message, recipients: Sequence[str]) -> tuple[RefusedRecipient, ...]:
        """Refuses nobody: who cannot be reached is told to the sender's mailbox later."""
        # Graph reads from the message whom it goes to.
        del message["To"]
        message["To"] = ", ".join(recipients)
        token = await self._token()
        http = HttpSession(proxy_for=self._url)
        try:
            async with http.get().post(
                self._url,
                data=base64.b64encode(message.as_bytes(policy=SMTP)),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "text/plain"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._send_seconds),
            ) as response:
                # A message that is too long is answered with 200, and not sent.
                if response.status != 202:
                    raise _error(
                        response.status, (await read_beginning(response, _MAX_ERROR_BYTES)).decode("utf-8", "replace")
                    )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TemporaryMailError(
                "Microsoft Graph could not be reached or did not answer.",
                may_have_arrived=not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError),
                server_is_unreachable=True,
            ) from error
        finally:
            await http.close()
        return ()

    async def test_connection(self) -> None:
        """Only signs in: whether the mailbox may be used, Graph tells with the first mail."""
        await self._token()

    async def _token(self) -> str:
        try:
            return await self._access_token()
        except Exception as error:
            raise TemporaryMailError(
                "No access token for Microsoft Graph: check the identity that sends mail.", server_is_unreachable=True
            ) from error


def _error(status: int, body: str) -> MailError:
    stated = (json_object(body) or {}).get("error")
    details = stated if isinstance(stated, dict) else {}
    reason = f"{name_or_empty(str(details.get('code', '')))} {quoted(str(details.get('message', '')))}".strip()
    said = f"Microsoft Graph answered {status}: {reason or 'no reason given'}"
    if status in _NOT_TAKEN_YET:
        return TemporaryMailError(said, server_is_unreachable=True)
    if status >= 500:
        return TemporaryMailError(said, may_have_arrived=True)
    if status in {401, 403}:
        return PermanentMailError(f"{said} The identity needs Mail.Send, for the mailbox in SENDER_EMAIL.")
    return PermanentMailError(said)
