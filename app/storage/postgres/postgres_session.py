"""A connection while one call uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

# A worker that stalls inside of a transaction must not hold up the others for longer. As a part of each transaction,
# because a connection pooler between here and the server refuses settings of a session.
_BEGIN = "BEGIN; SET LOCAL statement_timeout = '20s'; SET LOCAL idle_in_transaction_session_timeout = '10s'"


class PostgresSession:
    """Runs statements, in which `{schema}` stands for the schema of the tables. `connection` is one of asyncpg's."""

    def __init__(self, connection: Any, schema: str) -> None:  # noqa: ANN401 - asyncpg has no types
        self.schema = schema
        self._connection = connection

    async def rows(self, statement: str, *arguments: object) -> Sequence[Sequence[Any]]:
        found: Sequence[Sequence[Any]] = await self._connection.fetch(self._named(statement), *arguments)
        return found

    async def row(self, statement: str, *arguments: object) -> Sequence[Any] | None:
        found: Sequence[Any] | None = await self._connection.fetchrow(self._named(statement), *arguments)
        return found

    async def value(self, statement: str, *arguments: object) -> Any:  # noqa: ANN401 - of any type that a column has
        return await self._connection.fetchval(self._named(statement), *arguments)

    async def execute(self, statement: str, *arguments: object) -> int:
        """Returns how many rows were inserted, changed or deleted."""
        status: str = await self._connection.execute(self._named(statement), *arguments)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    async def script(self, statements: str) -> None:
        """Several statements without arguments, in one round trip."""
        await self._connection.execute(self._named(statements))

    @asynccontextmanager
    async def transaction(self, *, lock: int | None = None) -> AsyncIterator[None]:
        """All or nothing. `lock` is the number of an advisory lock that is held to the end.

        Each statement sees what others committed before it, so those after the lock see all that was done under it.
        """
        await self.script(_BEGIN if lock is None else f"{_BEGIN}; SELECT pg_advisory_xact_lock({lock})")
        try:
            yield
        except Exception:
            if not self._connection.is_closed():
                await self.script("ROLLBACK")
            raise
        await self.script("COMMIT")

    def _named(self, statement: str) -> str:
        return statement.replace("{schema}", self.schema)
