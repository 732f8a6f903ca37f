"""One pooled aiohttp session that several users share."""

from __future__ import annotations

import aiohttp


class HttpSession:
    """Opened by its first user, in that one's event loop; opened again after `close`.

    It keeps no cookies: requests for different people share it. `uses_proxy`: as the environment says.
    """

    def __init__(
        self, *, max_connections: int = 100, keep_alive_seconds: float = 30.0, uses_proxy: bool = False
    ) -> None:
        self._max_connections = max_connections
        self._keep_alive_seconds = keep_alive_seconds
        self._uses_proxy = uses_proxy
        self._session: aiohttp.ClientSession | None = None

    def get(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_connections, keepalive_timeout=self._keep_alive_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=self._uses_proxy,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
