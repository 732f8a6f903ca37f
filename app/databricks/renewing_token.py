"""Tokens that expire: fetched in time, one fetch at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

RENEW_BEFORE_EXPIRY_SECONDS = 120
TRY_AGAIN_AFTER_SECONDS = 20

_log = logging.getLogger(__name__)


class CredentialError(Exception):
    """No token could be had; `str()` says why and never holds a credential."""


@dataclass(frozen=True, slots=True)
class IssuedToken:
    value: SecretStr
    lifetime_seconds: float


class RenewingToken:
    """Fetched when there is none or it expires soon; one fetch at a time, and the old one while it still works."""

    def __init__(
        self, fetch: Callable[[], Awaitable[IssuedToken]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._fetching = asyncio.Lock()
        self._current: IssuedToken | None = None
        self._renew_at = 0.0
        self._expires_at = 0.0

    async def get(self) -> str:
        if self._current is None or self._clock() >= self._renew_at:
            async with self._fetching:
                if self._current is None or self._clock() >= self._renew_at:
                    await self._renew()
        assert self._current is not None
        return self._current.value.get_secret_value()

    def forget(self) -> bool:
        had_one = self._current is not None
        self._current = None
        return had_one

    async def _renew(self) -> None:
        asked_at = self._clock()
        try:
            issued = await self._fetch()
        except CredentialError as failure:
            if self._current is None or asked_at >= self._expires_at:
                raise
            _log.warning("Databricks token not renewed, the present one goes on: %s", failure)
            self._renew_at = min(asked_at + TRY_AGAIN_AFTER_SECONDS, self._expires_at)
            return
        self._current = issued
        self._expires_at = asked_at + issued.lifetime_seconds
        self._renew_at = self._expires_at - min(RENEW_BEFORE_EXPIRY_SECONDS, issued.lifetime_seconds / 2)


def issued_token(body: Mapping[str, Any], source: str) -> IssuedToken:
    token = body.get("access_token")
    if not isinstance(token, str) or not token:
        raise CredentialError(f"{source} gave no token: {oauth_error(body)}")
    lifetime = body.get("expires_in")
    return IssuedToken(SecretStr(token), float(lifetime) if isinstance(lifetime, int | float) else 600.0)


def oauth_error(body: Mapping[str, Any], *, hiding: SecretStr | None = None) -> str:
    said = f"{body.get('error', 'no reason given')} {body.get('error_description', '')}".strip()
    return one_line(said.replace(hiding.get_secret_value(), "[secret]") if hiding else said)


def one_line(said: str) -> str:
    """Short and printable, for the log."""
    return " ".join("".join(each if each.isprintable() else " " for each in said[:1000]).split())[:300]
