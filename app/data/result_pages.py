"""The tool behind the button "Next rows"."""

from __future__ import annotations

import logging
from contextlib import suppress

from pydantic import Field

from app.common.identity import identity_key
from app.data.more_rows import with_more_rows
from app.data.present import NEXT_ROWS, PAGE_ROWS, page_of
from app.data.rerun import RERUN_SECONDS, Reruns, ResultArguments, gone, ran_again
from app.data.result_set import MAX_ROWS
from app.data.stored_results import StoredResult, StoredResults
from app.databricks.statement_chunks import StatementChunks
from app.databricks.workspace_errors import WorkspaceError
from app.storage.storage_errors import StorageError
from app.tools.base import AnyTool, Effect, Tool, ToolContext, ToolOutput
from app.translation import Sentence

_log = logging.getLogger(__name__)

_TITLE = Sentence("Reading more rows")
_NO_MORE = Sentence("There are no more rows.")


class PageArguments(ResultArguments):
    first_row: int = Field(ge=0, le=MAX_ROWS)


class ResultPages:
    """Where the rows are no longer kept, or another identity read them, the query runs again first."""

    def __init__(self, results: StoredResults, chunks: StatementChunks, reruns: Reruns) -> None:
        self._results = results
        self._chunks = chunks
        self._reruns = reruns

    @property
    def tool(self) -> AnyTool:
        return Tool(
            NEXT_ROWS,
            "Shows the next rows of a result.",
            PageArguments,
            self._run,
            Effect.READ_ONLY,
            RERUN_SECONDS,
            title=_TITLE,
            offered=False,
        )

    async def _run(self, arguments: PageArguments, context: ToolContext) -> ToolOutput:
        stored = await self._stored(arguments, context)
        sentence = ""
        if stored is None:
            stored = await self._reruns.run_again(arguments.result, context)
            if stored is None:
                return gone(context)
            stored = await self._with_rows(stored, arguments, context) or stored
            sentence = ran_again(stored, context.translate)
        page = page_of(stored, context.translate, arguments.first_row)
        if not page.rows:
            return ToolOutput("no more rows", sentence=context.translate(_NO_MORE))
        return ToolOutput(f"{len(page.rows)} rows", (page,), sentence=sentence)

    async def _stored(self, arguments: PageArguments, context: ToolContext) -> StoredResult | None:
        stored = await self._results.find(context.conversation, identity_key(context.identity), arguments.result)
        return None if stored is None else await self._with_rows(stored, arguments, context)

    async def _with_rows(
        self, stored: StoredResult, arguments: PageArguments, context: ToolContext
    ) -> StoredResult | None:
        """The result with the rows of that page read, if it has them. None if Databricks no longer has them."""
        wanted = arguments.first_row + PAGE_ROWS
        if stored.unread is None or len(stored.result.rows) >= wanted:
            return stored
        try:
            result, unread = await with_more_rows(
                stored.result, stored.unread, self._chunks, context.identity, at_least=wanted
            )
        except WorkspaceError as error:
            _log.info("The next rows of a result could not be read (%s)", type(error).__name__)
            return None
        stored = stored.model_copy(update={"result": result, "unread": unread})
        with suppress(StorageError):
            await self._results.save(context.conversation, stored)
        return stored
