"""The files that people attach; what it takes is imported when a conversation has the first one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from app.common.http_session import HttpSession
from app.databricks.workspace_client import WorkspaceClient
from app.storage.artifacts import ArtifactStore
from app.storage.conversations import ConversationKey
from app.tools.attached_files import FILES, AttachedFile
from app.tools.base import AnyTool, ToolContext

if TYPE_CHECKING:
    from app.data.result_set import ResultSet
    from app.data.stored_results import Query, StoredResults
    from app.databricks.statement_chunks import NextChunk
    from app.files.conversation_files import StoredConversationFiles
    from app.files.query_tool import FileQueries


class LazyConversationFiles:
    """A `app.tools.attached_files.ConversationFiles`, and a `app.data.rerun.QueryRunner`.

    `allows_loopback`: files may come from this machine. `brings_result_tools`: no other capability does.
    """

    def __init__(
        self,
        artifacts: ArtifactStore,
        workspace: WorkspaceClient,
        results: Callable[[], StoredResults],
        *,
        allows_loopback: bool,
        brings_result_tools: bool,
    ) -> None:
        self._artifacts = artifacts
        self._workspace = workspace
        self._results = results
        self._session = HttpSession()
        self._allows_loopback = allows_loopback
        self._brings_result_tools = brings_result_tools

    async def add(self, files: Sequence[AttachedFile], context: ToolContext) -> Sequence[str]:
        return await self._files.add(files, context)

    async def tools(self, conversation: ConversationKey) -> Sequence[AnyTool]:
        tools = await self._files.tools(conversation)
        return [*tools, *self._result_tools] if tools and self._brings_result_tools else tools

    async def run_again(self, query: Query, context: ToolContext) -> tuple[ResultSet, NextChunk | None]:
        return await self._queries.run_again(query, context)

    async def close(self) -> None:
        await self._session.close()

    @cached_property
    def _queries(self) -> FileQueries:
        from app.files.query_tool import FileQueries  # noqa: PLC0415
        from app.files.sandbox import Sandbox  # noqa: PLC0415
        from app.files.stored_files import StoredFiles  # noqa: PLC0415

        return FileQueries(StoredFiles(self._artifacts), self._results(), Sandbox())

    @cached_property
    def _files(self) -> StoredConversationFiles:
        from app.files.conversation_files import StoredConversationFiles  # noqa: PLC0415
        from app.files.download import Downloads  # noqa: PLC0415
        from app.files.uploads import Uploads  # noqa: PLC0415

        downloads = Downloads(self._session, allows_loopback=self._allows_loopback)
        return StoredConversationFiles(downloads, Uploads(self._artifacts), self._queries)

    @cached_property
    def _result_tools(self) -> Sequence[AnyTool]:
        from app.data.result_tools import ResultTools  # noqa: PLC0415

        return ResultTools(self._results(), self._workspace, {FILES: self}).all
