"""Callers with an access token of Microsoft Entra ID: the identity of a Foundry project, or of an agent in it.

https://learn.microsoft.com/azure/foundry/agents/how-to/mcp-authentication
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from app.access_tokens.access_token import AccessToken, UnauthenticatedError, same_id
from app.access_tokens.signing_keys import SigningKeys

_URI = "api://"


@dataclass(frozen=True, slots=True)
class AcceptedTokens:
    """Those of `callers`, object ids or client ids in lower case, in `tenant`. `audience` is an application id URI."""

    audience: str
    callers: frozenset[str]
    tenant: str
    issuers: frozenset[str]


class EntraCallers:
    """`now` is the time of day in seconds since 1970."""

    def __init__(self, accepted: AcceptedTokens, keys: SigningKeys, *, now: Callable[[], float] = time.time) -> None:
        self._accepted = accepted
        self._keys = keys
        self._now = now

    async def authenticate(self, authorization: str | None) -> None:
        """Raises `UnauthenticatedError`, `AuthenticationUnavailableError`."""
        token, accepted = AccessToken.read(authorization), self._accepted
        claims = token.claims
        token.check_times(self._now())
        # Tokens of version 2 name the client id alone.
        if not any(
            same_id(claims.get("aud"), each) for each in (accepted.audience, accepted.audience.removeprefix(_URI))
        ):
            raise UnauthenticatedError("the token is for another audience")
        token.check_is_an_apps()
        if claims["iss"] not in accepted.issuers or not same_id(claims.get("tid"), accepted.tenant):
            raise UnauthenticatedError("the token is of another tenant")
        if not any(str(claims.get(name)).lower() in accepted.callers for name in ("oid", "appid", "azp")):
            raise UnauthenticatedError("the caller is not in FOUNDRY_MCP_CALLERS")
        await token.verify_login(self._keys)

    async def close(self) -> None:
        await self._keys.close()
