"""The keys that sign tokens, from an OpenID metadata document. An unknown key id fetches them again."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from jwt import PyJWTError
from jwt.algorithms import RSAAlgorithm

from app.common.http_session import HttpSession

_log = logging.getLogger(__name__)

# Microsoft's advice; keys are published days before they are used.
# https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication
MAX_AGE_SECONDS = 24 * 3600.0
# Invented key ids cause one fetch a minute at most.
_MIN_SECONDS_BETWEEN_FETCHES = 60.0
_RETRY_WITHOUT_KEYS_SECONDS = 5.0
_MAX_DOCUMENT_BYTES = 1024 * 1024


class _BadDocumentError(ValueError):
    """The text is logged, and quotes nothing of the document."""


class KeysUnavailableError(Exception):
    """The key is not known, and the OpenID document could not be fetched when that was last tried."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`endorsements` are the channels the key may speak for, `issuer` the only one that may use it, if it says so."""

    public_key: Any
    endorsements: frozenset[str]
    issuer: str | None


class SigningKeys:
    """`clock` in seconds, never backwards; `time_limit` in seconds for one fetch of both documents."""

    def __init__(
        self,
        metadata_url: str,
        session: HttpSession,
        *,
        clock: Callable[[], float] = time.monotonic,
        time_limit_seconds: float = 10.0,
    ) -> None:
        self._metadata_url = metadata_url
        self._session = session
        self._clock = clock
        self._time_limit_seconds = time_limit_seconds
        self._keys: Mapping[str, SigningKey] = {}
        self._fetched_at = 0.0
        # Whether the last fetch succeeded. If not, an unknown key may be a new one.
        self._last_fetch_succeeded = False
        self._tried_at: float | None = None
        self._fetch: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> SigningKey | None:
        """Raises `KeysUnavailableError`."""
        if key_id not in self._keys:
            await self.refresh()
        elif self._clock() - self._fetched_at > MAX_AGE_SECONDS:
            self._start_fetch()
        if key_id not in self._keys and not self._last_fetch_succeeded:
            raise KeysUnavailableError
        return self._keys.get(key_id)

    async def refresh(self) -> None:
        """Fetches the keys, or waits for the fetch under way. Does nothing right after a fetch."""
        self._start_fetch()
        if self._fetch is not None:
            # Shielded: others wait for the same fetch.
            await asyncio.shield(self._fetch)

    async def close(self) -> None:
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait([self._fetch])

    def _start_fetch(self) -> None:
        if self._fetch is not None:
            return
        pause = _MIN_SECONDS_BETWEEN_FETCHES if self._keys else _RETRY_WITHOUT_KEYS_SECONDS
        if self._tried_at is not None and self._clock() - self._tried_at < pause:
            return
        self._fetch = asyncio.create_task(self._fetch_keys())
        self._fetch.add_done_callback(self._fetch_ended)

    def _fetch_ended(self, _: asyncio.Task[None]) -> None:
        self._fetch = None
        self._tried_at = self._clock()

    async def _fetch_keys(self) -> None:
        try:
            async with asyncio.timeout(self._time_limit_seconds):
                await self._try_to_fetch()
                if not self._keys:
                    # Without any key every call is refused, so one failed request is retried at once.
                    await self._try_to_fetch()
        except TimeoutError:
            _log.warning("Signing keys did not come from %s in time", self._metadata_url)

    async def _try_to_fetch(self) -> None:
        self._last_fetch_succeeded = False
        try:
            document = await self._get(self._metadata_url)
            keys_url = str(document["jwks_uri"])
            if urlsplit(keys_url).scheme != urlsplit(self._metadata_url).scheme:
                raise _BadDocumentError("the jwks_uri has another scheme than the document")
            keys = _parse_keys(await self._get(keys_url))
            if not keys:
                raise _BadDocumentError("there is no key in it")
        except (aiohttp.ClientError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = str(error) if isinstance(error, _BadDocumentError) else type(error).__name__
            _log.warning("Signing keys could not be fetched from %s: %s", self._metadata_url, why)
            return
        self._keys = keys
        self._fetched_at = self._clock()
        self._last_fetch_succeeded = True

    async def _get(self, url: str) -> Any:  # noqa: ANN401 - any JSON
        headers = {"Accept": "application/json"}
        async with self._session.get().get(url, headers=headers, allow_redirects=False) as response:
            if response.status != 200:
                raise _BadDocumentError(f"HTTP {response.status}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _MAX_DOCUMENT_BYTES:
                    raise _BadDocumentError("the document is too long")
            return json.loads(body)


def _parse_keys(document: Any) -> dict[str, SigningKey]:  # noqa: ANN401 - any JSON
    keys: dict[str, SigningKey] = {}
    for entry in document["keys"]:
        if not isinstance(entry, dict) or entry.get("kty") != "RSA" or entry.get("use", "sig") != "sig":
            continue
        key_id, issuer = entry.get("kid"), entry.get("issuer")
        if not isinstance(key_id, str):
            continue
        try:
            public_key = RSAAlgorithm.from_jwk(entry)
        except (PyJWTError, ValueError, TypeError):
            _log.warning("A signing key could not be parsed and was left out")
            continue
        endorsements = frozenset(item for item in entry.get("endorsements") or () if isinstance(item, str))
        keys[key_id] = SigningKey(public_key, endorsements, issuer if isinstance(issuer, str) else None)
    return keys
