"""One pool of connections for everything that the bot sends to the Bot Framework."""

from __future__ import annotations

import aiohttp


class HttpSession:
    """Opened by its first user, in that one's event loop; opened again after `close`."""

    def __init__(self, *, most_connections: int = 100, keep_alive: float = 30.0) -> None:
        self._most_connections = most_connections
        self._keep_alive = keep_alive
        self._session: aiohttp.ClientSession | None = None

    def get(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._most_connections, keepalive_timeout=self._keep_alive),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
