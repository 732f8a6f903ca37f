"""Access tokens of Microsoft Entra ID for the mailbox that sends, by the OAuth 2.0 client credentials grant.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import aiohttp
from pydantic import SecretStr

from app.common.http_body import json_object, read_beginning
from app.common.http_session import HttpSession
from app.common.log_text import name_or_empty
from app.common.renewing_token import IssuedToken, RenewingToken

GRAPH_SCOPE: Final = "https://graph.microsoft.com/.default"
"""For `GraphTransport`: the application permission Mail.Send."""
SMTP_SCOPE: Final = "https://outlook.office365.com/.default"
"""For `SmtpTransport`: the application permission SMTP.SendAsApp."""
LOGIN_URL: Final = "https://login.microsoftonline.com"

_TOKEN_SECONDS = 20.0
_MAX_BODY_BYTES = 64 * 1024


class EntraTokenError(Exception):
    """Entra ID gave no token. Its text names the reason and no secret."""


class EntraClientCredentials:
    """`token` is an `AccessToken` for a mail transport. `login_url` is another one in national clouds."""

    def __init__(
        self,
        tenant_id: str,
        client_id: str,
        client_secret: SecretStr,
        scope: str,
        *,
        login_url: str = LOGIN_URL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = f"{login_url.rstrip('/')}/{quote(tenant_id, safe='')}/oauth2/v2.0/token"
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = scope
        self._token = RenewingToken("The token for mail", self._fetch, clock=clock)

    async def token(self) -> str:
        """Raises EntraTokenError."""
        return await self._token.get()

    async def close(self) -> None:
        await self._token.close()

    async def _fetch(self) -> IssuedToken:
        http = HttpSession(proxy_for=self._url)
        try:
            async with http.get().post(
                self._url,
                data={
                    "grant_type": "client_credentials",
                    "client_id": self._client_id,
                    "client_secret": self._client_secret.get_secret_value(),
                    "scope": self._scope,
                },
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_TOKEN_SECONDS),
            ) as response:
                status = response.status
                body = json_object((await read_beginning(response, _MAX_BODY_BYTES)).decode("utf-8", "replace")) or {}
        except (aiohttp.ClientError, TimeoutError) as error:
            raise EntraTokenError(f"Entra ID did not answer: {type(error).__name__}") from error
        finally:
            await http.close()
        token, lifetime = body.get("access_token"), body.get("expires_in")
        if status != 200 or not isinstance(token, str) or not token:
            raise EntraTokenError(f"Entra ID answered {status}: {name_or_empty(str(body.get('error', '')))}")
        return IssuedToken(SecretStr(token), float(lifetime) if isinstance(lifetime, int | float) else 600.0)
