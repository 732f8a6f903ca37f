"""Between a client and a PostgreSQL: connections that close, answers that get lost, a server that says nothing."""

from __future__ import annotations

import asyncio
from typing import Self


class PostgresProxy:
    """`lost_answers`: of so many requests the answer never arrives, and the connection is closed instead; the first
    `requests_until_then` pass. `silent`: whoever is connected hears nothing more. `refusing`: nobody new gets in.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.answers_lost = 0
        self.lost_answers = 0
        self.requests_until_then = 0
        self.refusing = False
        self._server_port = port
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        self.close_connections()
        await self._server.wait_closed()

    def close_connections(self) -> None:
        for link in list(self._links):
            link.close()

    def silence(self) -> None:
        """Of those who are connected now."""
        for link in self._links:
            link.silent = True

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.close()
            return
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        link = _Link(writer, to_server)
        self._links.add(link)
        answers = asyncio.create_task(self._pass_answers(link, from_server))
        try:
            while data := await reader.read(65536):
                # After the sign-in, so that what is lost is the answer to a statement.
                if link.signed_in and self.lost_answers:
                    if self.requests_until_then:
                        self.requests_until_then -= 1
                    else:
                        self.lost_answers -= 1
                        link.loses_answer = True
                to_server.write(data)
        except ConnectionError:
            pass
        finally:
            link.close()
            self._links.discard(link)
            await answers

    async def _pass_answers(self, link: _Link, from_server: asyncio.StreamReader) -> None:
        try:
            while data := await from_server.read(65536):
                if link.loses_answer:
                    self.answers_lost += 1
                    break
                # ReadyForQuery, of no transaction.
                link.signed_in = link.signed_in or data.endswith(b"Z\0\0\0\5I")
                if not link.silent:
                    link.client.write(data)
        except ConnectionError:
            pass
        finally:
            link.close()


class _Link:
    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.signed_in = False
        self.silent = False
        self.loses_answer = False

    def close(self) -> None:
        self.client.close()
        self.server.close()
