"""Tokens that sign in to a Lakebase database as its password. They live for an hour; a connection may live longer.

https://docs.databricks.com/api/workspace/postgres/generatedatabasecredential (autoscaling) and
https://docs.databricks.com/api/workspace/database/generatedatabasecredential (provisioned)
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import datetime

from pydantic import SecretStr

from app.common.json_values import text
from app.common.renewing_token import IssuedToken, RenewingToken
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_errors import CredentialError

_TIME_LIMIT_SECONDS = 10.0
# Where the workspace names no time: less than the documented hour.
_LIFETIME_SECONDS = 900.0


class DatabaseToken:
    """Call it for a token. `endpoint` names one of an autoscaling Lakebase, `instance` a provisioned one; with neither
    the workspace's own OAuth token is the password. `clock` is in seconds since 1970.
    """

    def __init__(
        self,
        workspace: WorkspaceClient,
        *,
        endpoint: str | None = None,
        instance: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workspace = workspace
        self._endpoint = endpoint
        self._instance = instance
        self._clock = clock
        self._token = RenewingToken("The database's token", self._fetch, clock=clock)

    async def __call__(self) -> str:
        """Raises WorkspaceError."""
        if self._endpoint or self._instance:
            return await self._token.get()
        return await self._workspace.credential.token()

    async def close(self) -> None:
        await self._token.close()

    async def _fetch(self) -> IssuedToken:
        path = "/api/2.0/postgres/credentials"
        body: dict[str, object] = {"endpoint": self._endpoint}
        if not self._endpoint:
            path = "/api/2.0/database/credentials"
            body = {"instance_names": [self._instance], "request_id": str(uuid.uuid4())}
        issued = await self._workspace.request(
            "POST", path, json_body=body, idempotent=True, time_limit_seconds=_TIME_LIMIT_SECONDS
        )
        token = text(issued.get("token"))
        if not token:
            raise CredentialError(f"no token in the answer of {path}")
        expires = text(issued.get("expire_time")) or text(issued.get("expiration_time"))
        return IssuedToken(SecretStr(token), self._lifetime_seconds(expires))

    def _lifetime_seconds(self, expires: str) -> float:
        try:
            moment = datetime.fromisoformat(expires)
        except ValueError:
            return _LIFETIME_SECONDS
        left = moment.timestamp() - self._clock() if moment.tzinfo else 0.0
        return left if left > 0 else _LIFETIME_SECONDS
