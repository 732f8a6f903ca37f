"""One pooled aiohttp session that several users share."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp.helpers import get_env_proxy_for_url
from yarl import URL


class HttpSession:
    """Opened by its first user, in that one's event loop; opened again after `close`.

    It keeps no cookies, since requests for different people share it. `proxy_for` is the URL whose proxy it uses, if
    the environment names one (HTTPS_PROXY, NO_PROXY).
    """

    def __init__(
        self, *, max_connections: int = 100, keep_alive_seconds: float = 30.0, proxy_for: str | None = None
    ) -> None:
        self._max_connections = max_connections
        self._keep_alive_seconds = keep_alive_seconds
        self._proxy_for = proxy_for
        self._session: aiohttp.ClientSession | None = None

    def get(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_connections, keepalive_timeout=self._keep_alive_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                **_proxy(self._proxy_for),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _proxy(url: str | None) -> dict[str, Any]:
    # aiohttp's own trust_env reads ~/.netrc too, in a thread at each request, and fails where that has an entry.
    if url is None:
        return {}
    try:
        proxy, authentication = get_env_proxy_for_url(URL(url))
    except LookupError:
        return {}
    return {"proxy": proxy, "proxy_auth": authentication}
