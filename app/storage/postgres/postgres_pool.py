"""Connections to a PostgreSQL database, opened as they are needed; a closed one costs no call."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from app.storage.postgres.postgres_errors import (
    ERRORS,
    is_lost_connection,
    is_refused_sign_in,
    may_pass,
    misses_tables,
    reason,
)
from app.storage.postgres.postgres_schema import prepare
from app.storage.postgres.postgres_session import PostgresSession
from app.storage.postgres_database import PostgresDatabase
from app.storage.storage_errors import StorageError

_Result = TypeVar("_Result")
_Work = Callable[[PostgresSession], Awaitable[_Result]]

# A database that sleeps, or that another server takes over, is back within this time.
CALL_SECONDS = 20.0
CLEANING_SECONDS = 240.0
_CONNECT_SECONDS = 8.0
_RELEASE_SECONDS = 5.0
_MAX_CONNECTIONS = 10
# Shorter than what firewalls and sleeping databases allow an idle connection.
_IDLE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.05
_MAX_PAUSE_SECONDS = 1.0
# With a password that is read again each time.
_MAX_SIGN_INS = 3


class PostgresPool:
    """`clock` is in seconds since 1970."""

    def __init__(self, database: PostgresDatabase, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._database = database
        self._pool: Any = None
        self._opening = asyncio.Lock()
        self._prepared = False
        self._closed = False

    async def run(self, work: _Work[_Result], *, seconds: float = CALL_SECONDS) -> _Result:
        """Runs `work`, which may be repeated: after a lost connection it is run again on a fresh one.

        Raises what `work` raises, and `StorageError`, for instance after `seconds`.
        """
        failures: list[Exception] = []
        try:
            async with asyncio.timeout(seconds):
                return await self._run(work, seconds / 2, failures)
        except ERRORS as error:
            # At the end of the time it says more why it was not enough.
            cause = failures[-1] if isinstance(error, TimeoutError) and failures else error
            raise StorageError(reason(cause, self._database.schema)) from cause

    async def close(self) -> None:
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), _RELEASE_SECONDS)
            except (TimeoutError, *ERRORS):
                pool.terminate()

    async def _run(self, work: _Work[_Result], attempt_seconds: float, failures: list[Exception]) -> _Result:
        pause, refusals, missed = 0.0, 0, 0
        while True:
            try:
                async with asyncio.timeout(attempt_seconds):
                    return await self._run_once(work)
            except ERRORS as error:
                failures.append(error)
                refusals += is_refused_sign_in(error)
                missed += misses_tables(error)
                if missed == 1 and misses_tables(error):
                    self._prepared = False
                elif not may_pass(error) or refusals == _MAX_SIGN_INS:
                    raise
                if is_lost_connection(error) and self._pool is not None:
                    # The others were most likely lost with it.
                    await self._pool.expire_connections()
            await asyncio.sleep(pause)
            pause = min(max(2 * pause, _FIRST_PAUSE_SECONDS), _MAX_PAUSE_SECONDS)

    async def _run_once(self, work: _Work[_Result]) -> _Result:
        if not self._prepared:
            async with self._opening:
                if not self._prepared:
                    async with self._session() as session:
                        await prepare(session)
                    self._prepared = True
        async with self._session() as session:
            return await work(session)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[PostgresSession]:
        pool = self._opened()
        await pool
        connection = await pool.acquire()
        try:
            yield PostgresSession(connection, self._database.schema)
        except BaseException as error:
            # Nobody knows what a connection does whose call was cancelled or broken.
            if not isinstance(error, Exception) or is_lost_connection(error):
                connection.terminate()
            raise
        finally:
            await pool.release(connection, timeout=_RELEASE_SECONDS)

    def _opened(self) -> Any:  # noqa: ANN401 - asyncpg has no types
        if self._closed:
            raise StorageError("the database's connections have been closed")
        if self._pool is None:
            where = self._database
            self._pool = asyncpg.create_pool(
                where.url.get_secret_value() if where.url else None,
                host=where.host,
                port=where.port,
                database=where.database,
                user=where.user,
                password=self._password if where.password else None,
                ssl=_tls(where.ssl_mode),
                timeout=_CONNECT_SECONDS,
                min_size=0,
                max_size=_MAX_CONNECTIONS,
                max_inactive_connection_lifetime=_IDLE_SECONDS,
                reset=_keep_as_it_is,
            )
        return self._pool

    async def _password(self) -> str:
        assert self._database.password is not None
        try:
            return await self._database.password()
        except Exception as error:
            raise StorageError(f"the database's password could not be read ({type(error).__name__})") from error


def _tls(ssl_mode: str | None) -> str | ssl.SSLContext | None:
    """asyncpg verifies with a file of certificates alone, where every other client knows those of the system."""
    if ssl_mode not in {"verify-ca", "verify-full"}:
        return ssl_mode
    context = ssl.create_default_context(cafile=os.environ.get("PGSSLROOTCERT"))
    context.check_hostname = ssl_mode == "verify-full"
    return context


async def _keep_as_it_is(_: object) -> None:
    """Nothing is set for a session, so that a call needs no round trip to undo it."""
