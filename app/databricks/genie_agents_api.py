"""Genie's agent mode API (Beta): https://docs.databricks.com/aws/en/genie-agents/api

An agent's id is that of its space. All calls raise `app.databricks.workspace_errors.WorkspaceError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from app.common.identity import RequestIdentity
from app.databricks.workspace_client import WorkspaceClient, api_path

_AGENTS = "/api/2.0/genie/agents"
_MAX_ITEMS_BYTES = 16 * 1024 * 1024
_CANCEL_SECONDS = 1.5


class GenieAgentsApi:
    def __init__(self, workspace: WorkspaceClient) -> None:
        self._workspace = workspace

    def respond(
        self, agent: str, conversation: str, question: str, identity: RequestIdentity
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Asks, in a new conversation where `conversation` is empty; server-sent events tell the response. Not repeated
        where the outcome is unknown.
        """
        message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": question}]}
        body: dict[str, Any] = {"input": [message]}
        if conversation:
            body["conversation_id"] = conversation
        return self._workspace.event_stream(api_path(_AGENTS, agent, "responses"), json_body=body, identity=identity)

    async def newest_items(self, agent: str, conversation: str, identity: RequestIdentity) -> Mapping[str, Any]:
        """The last 100 items of a conversation, the newest first."""
        path = api_path(_AGENTS, agent, "conversations", conversation, "items")
        query = {"limit": "100", "order": "desc"}
        return await self._workspace.request(
            "GET", path, identity=identity, query=query, max_reply_bytes=_MAX_ITEMS_BYTES
        )

    async def cancel(self, agent: str, conversation: str, response: str, identity: RequestIdentity) -> None:
        path = api_path(_AGENTS, agent, "conversations", conversation, "responses", response, "cancel")
        await self._workspace.request(
            "POST", path, identity=identity, idempotent=True, json_body={}, time_limit_seconds=_CANCEL_SECONDS
        )
