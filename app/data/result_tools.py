"""The tools that work on stored results, whichever capability they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.common.caller import Caller
from app.data.redraw import Redraw
from app.data.rerun import QueryRunner, Reruns
from app.data.result_pages import ResultPages
from app.data.stored_results import StoredResults
from app.databricks.statement_chunks import StatementChunks
from app.databricks.workspace_client import WorkspaceClient
from app.tools.base import AnyTool


class ResultTools:
    """A `app.tools.registry.ToolProvider`. `runners` by `app.data.stored_results.Query.capability`."""

    def __init__(self, results: StoredResults, workspace: WorkspaceClient, runners: Mapping[str, QueryRunner]) -> None:
        reruns = Reruns(results, runners)
        chunks = StatementChunks(workspace)
        pages = ResultPages(results, chunks, reruns)
        self.all = (Redraw(results, chunks).tool, pages.tool, reruns.tool)

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return self.all
