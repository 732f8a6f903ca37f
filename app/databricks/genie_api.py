"""Genie's Conversation API: https://docs.databricks.com/api/workspace/genie

Calls return the JSON as it came; `app.genie` reads it. All raise `app.databricks.workspace_errors.WorkspaceError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.common.identity import RequestIdentity
from app.databricks.workspace_client import WorkspaceClient, api_path

Json = Mapping[str, Any]

_SPACES = "/api/2.0/genie/spaces"
_STATEMENTS = "/api/2.0/sql/statements"
_MAX_RESULT_BYTES = 26 * 1024 * 1024
"""Databricks sends at most 25 MiB of a result inline."""
_CANCEL_SECONDS = 1.5
_IMAGE_SECONDS = 10.0


class GenieApi:
    """`warehouses` is asked about statements where `workspace` is a cache in front of it."""

    def __init__(self, workspace: WorkspaceClient, warehouses: WorkspaceClient | None = None) -> None:
        self._workspace = workspace
        self._warehouses = warehouses or workspace

    async def list_spaces(self, page_token: str = "") -> Json:
        query = {"page_size": "100"} | ({"page_token": page_token} if page_token else {})
        return await self._workspace.request("GET", _SPACES, query=query, time_limit_seconds=4.0)

    async def start_conversation(
        self, space: str, question: str, identity: RequestIdentity, *, visualize: bool = False
    ) -> Json:
        """Not repeated where the outcome is unknown: the question may have been asked. `visualize`: the message gets an
        attachment `viz`, where its result has a chart.
        """
        path = api_path(_SPACES, space, "start-conversation")
        body = _asked(question, visualize=visualize)
        return await self._workspace.request("POST", path, identity=identity, json_body=body)

    async def create_message(
        self, space: str, conversation: str, question: str, identity: RequestIdentity, *, visualize: bool = False
    ) -> Json:
        path = api_path(_SPACES, space, "conversations", conversation, "messages")
        body = _asked(question, visualize=visualize)
        return await self._workspace.request("POST", path, identity=identity, json_body=body)

    async def download_visualization(
        self, space: str, conversation: str, message: str, attachment: str, identity: RequestIdentity, max_bytes: int
    ) -> bytes:
        """The PNG of an attachment `viz`."""
        path = api_path(_message(space, conversation, message), "attachments", attachment, "download-visualization")
        return await self._workspace.download(
            path, identity=identity, max_reply_bytes=max_bytes, time_limit_seconds=_IMAGE_SECONDS
        )

    async def list_conversations(self, space: str, identity: RequestIdentity) -> Json:
        """Those of the identity, the newest first."""
        path = api_path(_SPACES, space, "conversations")
        return await self._workspace.request("GET", path, identity=identity)

    async def list_messages(
        self, space: str, conversation: str, identity: RequestIdentity, page_token: str = ""
    ) -> Json:
        path = api_path(_SPACES, space, "conversations", conversation, "messages")
        query = {"page_token": page_token} if page_token else {}
        return await self._workspace.request("GET", path, identity=identity, query=query)

    async def get_message(self, space: str, conversation: str, message: str, identity: RequestIdentity) -> Json:
        return await self._workspace.request("GET", _message(space, conversation, message), identity=identity)

    async def query_result(
        self, space: str, conversation: str, message: str, attachment: str, identity: RequestIdentity
    ) -> Json:
        path = api_path(_message(space, conversation, message), "attachments", attachment, "query-result")
        return await self._workspace.request("GET", path, identity=identity, max_reply_bytes=_MAX_RESULT_BYTES)

    async def execute_query(
        self, space: str, conversation: str, message: str, attachment: str, identity: RequestIdentity
    ) -> Json:
        """Runs the query of a message anew, whose result has expired. It only reads, so it may run twice."""
        path = api_path(_message(space, conversation, message), "attachments", attachment, "execute-query")
        return await self._workspace.request(
            "POST", path, identity=identity, idempotent=True, max_reply_bytes=_MAX_RESULT_BYTES
        )

    async def delete_conversation(self, space: str, conversation: str, identity: RequestIdentity) -> None:
        path = api_path(_SPACES, space, "conversations", conversation)
        await self._workspace.request("DELETE", path, identity=identity, time_limit_seconds=10.0)

    async def rate_message(self, space: str, conversation: str, message: str, rating: str, comment: str = "") -> None:
        """As the app. `rating` is `POSITIVE`, `NEGATIVE` or, to take it back, `NONE`; the last one counts."""
        path = api_path(_message(space, conversation, message), "feedback")
        body = {"rating": rating} | ({"comment": comment} if comment else {})
        await self._workspace.request("POST", path, json_body=body, idempotent=True, time_limit_seconds=10.0)

    async def cancel_statement(self, statement: str, identity: RequestIdentity) -> None:
        """Genie has no cancel of its own: the query of a message is cancelled at the warehouse."""
        path = api_path(_STATEMENTS, statement, "cancel")
        await self._warehouses.request(
            "POST", path, identity=identity, idempotent=True, time_limit_seconds=_CANCEL_SECONDS
        )


def _asked(question: str, *, visualize: bool) -> Json:
    return {"content": question} | ({"enable_visualization": True} if visualize else {})


def _message(space: str, conversation: str, message: str) -> str:
    return api_path(_SPACES, space, "conversations", conversation, "messages", message)
