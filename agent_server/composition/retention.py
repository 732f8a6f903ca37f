"""Deletes what is older than it may be kept: no timer of Azure's calls this server."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final

from app.storage.factory import Storage
from app.storage.storage_errors import StorageError

_log = logging.getLogger(__name__)

_FIRST_AFTER_SECONDS: Final = 300.0
_EVERY_SECONDS: Final = 6 * 3600.0
_TIME_LIMIT_SECONDS: Final = 600.0
_SECONDS_PER_DAY: Final = 24 * 3600.0


class Retention:
    """Several instances may do it at the same time. `clock` is in seconds since 1970."""

    def __init__(self, storage: Storage, retention_days: float, *, clock: Callable[[], float] = time.time) -> None:
        self._storage = storage
        self._retention_days = retention_days
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        pause = _FIRST_AFTER_SECONDS
        while True:
            # Instances that were started together need not delete together.
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - not a secret
            pause = _EVERY_SECONDS
            await self._delete_expired()

    async def _delete_expired(self) -> None:
        try:
            async with asyncio.timeout(_TIME_LIMIT_SECONDS):
                oldest = self._clock() - self._retention_days * _SECONDS_PER_DAY
                count = await self._storage.conversations.delete_before(oldest)
                count += await self._storage.documents.delete_expired()
        except (StorageError, TimeoutError) as failure:
            _log.warning("What has expired could not be deleted (%s)", type(failure).__name__)
        except Exception:
            _log.exception("What has expired could not be deleted")
        else:
            if count:
                _log.info("%d rows were older than CONVERSATION_RETENTION_DAYS and have been deleted", count)
