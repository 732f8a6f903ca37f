"""A client of a workspace, closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from app.databricks.credentials import Credential, PersonalAccessToken
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_url import WorkspaceUrl
from tests.fakes.serving_endpoint import TOKEN

PAT = PersonalAccessToken(SecretStr(TOKEN))


@asynccontextmanager
async def workspace_at(base_url: str, credential: Credential = PAT, **options: Any) -> AsyncIterator[WorkspaceClient]:
    client = WorkspaceClient(WorkspaceUrl.parse(base_url), credential, **options)
    try:
        yield client
    finally:
        await client.close()
