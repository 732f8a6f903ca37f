"""A SQLite file. One thread owns the connection, and each call is one transaction there."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from app.storage.sqlite.sqlite_schema import prepare
from app.storage.storage_errors import StorageError

_Result = TypeVar("_Result")


class SqliteFile:
    """Opens the file at its first use, and creates it and its folder. `clock` is in seconds since 1970."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="storage")

    async def run_transaction(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """`work` is one transaction. Raises what `work` raises, and `StorageError`."""
        if self._closed:
            raise StorageError("the file has been closed")

        def run_transaction() -> _Result:
            # As a context the connection commits, or rolls back after an error.
            with self._connected() as connection:
                return work(connection)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, run_transaction)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown(wait=False)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Only its owner may read what people said. SQLite gives its other files the permissions of this one.
            self._path.touch(mode=0o600)
            with suppress(PermissionError):
                self._path.chmod(0o600)
            # A transaction locks the file before its first write.
            connection = sqlite3.connect(self._path, timeout=10, check_same_thread=False, isolation_level="IMMEDIATE")
            try:
                prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
