"""The serving endpoints of a workspace: https://docs.databricks.com/api/workspace/servingendpoints"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from app.databricks.workspace_client import WorkspaceClient, api_path
from app.databricks.workspace_errors import CredentialError, WorkspaceError

LOOKUP_TIME_LIMIT_SECONDS = 3.0
LOOK_UP_AGAIN_AFTER_SECONDS = 60.0


class ServingEndpoints:
    def __init__(self, workspace: WorkspaceClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._workspace = workspace
        self._clock = clock
        self._tasks: dict[str, str] = {}
        self._looking_up = asyncio.Lock()
        self._next_lookup_at = 0.0

    async def describe(self, endpoint: str, *, time_limit_seconds: float) -> Mapping[str, Any]:
        """`GET /api/2.0/serving-endpoints/{name}`, which needs no more than the permission to query it.

        Tried once. Raises WorkspaceError.
        """
        # The first sign-in may take longer than the limit.
        await self._workspace.token()
        path = api_path("/api/2.0/serving-endpoints", endpoint)
        return await self._workspace.request("GET", path, time_limit_seconds=time_limit_seconds, attempts=1)

    async def task(self, endpoint: str) -> str | None:
        """The endpoint's `task`, such as `agent/v1/responses`; None when it has none or it cannot be looked up.

        Looked up once. After a failure the next look-up comes a minute later, so that it cannot slow every turn.
        Raises CredentialError.
        """
        if not self._workspace.url.has_serving_endpoints:
            return None
        async with self._looking_up:
            if endpoint not in self._tasks and self._clock() >= self._next_lookup_at:
                await self._look_up(endpoint)
        return self._tasks.get(endpoint) or None

    async def _look_up(self, endpoint: str) -> None:
        try:
            found = await self.describe(endpoint, time_limit_seconds=LOOKUP_TIME_LIMIT_SECONDS)
        except CredentialError:
            raise
        except WorkspaceError:
            self._next_lookup_at = self._clock() + LOOK_UP_AGAIN_AFTER_SECONDS
            return
        task = found.get("task")
        self._tasks[endpoint] = task if isinstance(task, str) else ""
