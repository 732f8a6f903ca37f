"""A signed access token: what it says, who signed it and how long it is valid. Whose it may be, its reader decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import jwt

from app.access_tokens.signing_keys import KeysUnavailableError, SigningKey, SigningKeys

_LEEWAY_SECONDS = 5 * 60
_MAX_TOKEN_CHARACTERS = 16 * 1024

Claims = Mapping[str, Any]


class UnauthenticatedError(PermissionError):
    """`reason` is for the log: a fixed sentence that holds no part of the token."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AuthenticationUnavailableError(Exception):
    """The signing keys are not there, so that the token can be checked neither way."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """`claims` are not to be believed before `verify` has returned."""

    claims: Claims
    key_id: str
    _encoded: str = field(repr=False)

    @classmethod
    def read(cls, authorization: str | None) -> AccessToken:
        """That of an Authorization header. Raises `UnauthenticatedError`."""
        encoded = _bearer_token(authorization)
        try:
            parts = jwt.decode_complete(encoded, options={"verify_signature": False})
        except Exception:  # what the library raises on a stranger's bytes is a refusal, whatever its type
            raise UnauthenticatedError("the token cannot be read") from None
        header, claims = parts["header"], parts["payload"]
        if header.get("alg") != "RS256":
            raise UnauthenticatedError("the token is not signed with RS256")
        if not isinstance(header.get("kid"), str) or not isinstance(claims.get("iss"), str):
            raise UnauthenticatedError("the token names no key or no issuer")
        return cls(claims, header["kid"], encoded)

    def check_times(self, now: float) -> None:
        """`now` in seconds since 1970. Raises `UnauthenticatedError`."""
        expires, not_before = self.claims.get("exp"), self.claims.get("nbf", 0)
        if not _is_time(expires) or not _is_time(not_before):
            raise UnauthenticatedError("the token does not say how long it is valid")
        if now > expires + _LEEWAY_SECONDS:
            raise UnauthenticatedError("the token has expired")
        if now < not_before - _LEEWAY_SECONDS:
            raise UnauthenticatedError("the token is not valid yet")

    def check_is_an_apps(self) -> None:
        """Raises `UnauthenticatedError`."""
        # https://learn.microsoft.com/entra/identity-platform/optional-claims-reference
        if "scp" in self.claims or self.claims.get("idtyp", "app") != "app":
            raise UnauthenticatedError("the token was issued for a person, not for an app")

    async def verify(self, keys: SigningKeys) -> SigningKey:
        """Checks the signature, and returns the key.

        Raises `UnauthenticatedError`, `AuthenticationUnavailableError`.
        """
        try:
            key = await keys.find(self.key_id)
        except KeysUnavailableError:
            raise AuthenticationUnavailableError("the signing keys could not be fetched") from None
        if key is None:
            raise UnauthenticatedError("the signing key is not known")
        try:
            # Every claim is checked by us, against our own clock.
            jwt.api_jws.decode_complete(self._encoded, key.public_key, algorithms=["RS256"])
        except Exception:  # as in `read`
            raise UnauthenticatedError("the signature does not fit the key") from None
        return key

    async def verify_login(self, keys: SigningKeys) -> None:
        """As `verify`, with keys of Microsoft Entra ID, some of which belong to one issuer."""
        key = await self.verify(keys)
        if key.issuer is not None and "{tenantid}" not in key.issuer and key.issuer != self.claims["iss"]:
            raise UnauthenticatedError("the signing key belongs to another issuer")


def same_id(value: object, name: str | None) -> bool:
    """For the ids of apps and tenants, which people write in either case."""
    return isinstance(value, str) and name is not None and value.lower() == name.lower()


def _bearer_token(header: str | None) -> str:
    if not header:
        raise UnauthenticatedError("there is no Authorization header")
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError("the Authorization header holds no bearer token")
    if len(token) > _MAX_TOKEN_CHARACTERS:
        raise UnauthenticatedError("the token is too long")
    return token


def _is_time(value: object) -> TypeGuard[float]:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
