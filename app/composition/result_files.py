"""Makes files of results; what it takes is imported when the first file is asked for."""

from __future__ import annotations

from app.common.identity import RequestIdentity
from app.databricks.workspace_client import WorkspaceClient
from app.messaging.result_files import ResultFile
from app.storage.artifacts import ArtifactStore
from app.storage.conversations import ConversationKey


class LazyResultFiles:
    """A `app.messaging.result_files.ResultFiles`."""

    def __init__(self, artifacts: ArtifactStore, workspace: WorkspaceClient) -> None:
        self._artifacts = artifacts
        self._workspace = workspace

    async def make(self, conversation: ConversationKey, result: str, identity: RequestIdentity) -> ResultFile:
        from app.data.csv_files import CsvFiles  # noqa: PLC0415
        from app.data.stored_results import StoredResults  # noqa: PLC0415
        from app.databricks.statement_chunks import StatementChunks  # noqa: PLC0415

        files = CsvFiles(StoredResults(self._artifacts), StatementChunks(self._workspace))
        return await files.make(conversation, result, identity)
