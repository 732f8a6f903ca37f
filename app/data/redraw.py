"""The tool that draws a result again: from what is stored, never from a model's memory of it."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from pydantic import Field

from app.common.identity import identity_key
from app.content.blocks import ChartKind, Text
from app.data.chart_choice import chart_of
from app.data.grouping import GroupingError, grouped
from app.data.more_rows import with_more_rows
from app.data.present import present, stored_for_model
from app.data.rerun import as_of
from app.data.stored_results import StoredResult, StoredResults, stored_now
from app.databricks.statement_chunks import StatementChunks
from app.databricks.workspace_errors import WorkspaceError
from app.storage.storage_errors import StorageError
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolError, ToolOutput
from app.translation import Sentence

_TITLE = Sentence("Drawing the result again")
_MAX_NAME_CHARACTERS = 200
_DESCRIPTION = (
    "Draws a result of this conversation again, as another kind of chart, as a table, or by another of its columns. "
    "Use it when the person wants to see the same numbers in another way. It runs no query."
)


class RedrawArguments(ToolArguments):
    chart: Literal["vertical_bar", "horizontal_bar", "grouped_bar", "stacked_bar", "line", "pie", "table", "auto"] = (
        Field("auto", description="how the result is to be drawn")
    )
    result: str = Field("", max_length=100, description="the id of a result; without one the last result is drawn")
    group_by: str = Field(
        "",
        max_length=_MAX_NAME_CHARACTERS,
        description="a column of the result: there is one row for each of its values, with the sums of the numbers",
    )
    value: str = Field(
        "",
        max_length=_MAX_NAME_CHARACTERS,
        description="with group_by: the column to be added up, else all numbers. Never one that cannot be added, such "
        "as an average, a share or a price",
    )


class Redraw:
    def __init__(self, results: StoredResults, chunks: StatementChunks) -> None:
        self._results = results
        self._chunks = chunks

    @property
    def tool(self) -> AnyTool:
        return Tool(
            "redraw_result",
            _DESCRIPTION,
            RedrawArguments,
            self._run,
            Effect.READ_ONLY,
            15,
            title=_TITLE,
            needs_conversation=True,
        )

    async def _run(self, arguments: RedrawArguments, context: ToolContext) -> ToolOutput:
        stored = await self._stored(arguments, context)
        if stored is None:
            raise ToolError("there is no such result in this conversation; ask for the data first")
        if arguments.group_by:
            stored = await self._grouped(stored, arguments, context)
        wanted = None if arguments.chart in {"table", "auto"} else ChartKind(arguments.chart)
        if wanted is not None and chart_of(stored.result, wanted) is None:
            raise ToolError(f"the result cannot be drawn as {arguments.chart}: it has negative or missing numbers, too "
                            "many values, or no number and label")  # fmt: skip
        blocks = present(stored, context.translate, wanted=wanted, with_chart=arguments.chart != "table")
        # Without the time, which the model would say a second time.
        kind = {"table": "as a table", "auto": "again"}.get(
            arguments.chart, f"as a {arguments.chart.replace('_', ' ')} chart"
        )
        text = f"The stored result is drawn {kind}."
        if arguments.group_by:
            text = f"{text}\n{stored_for_model(stored, context)}"
        return ToolOutput(text, (Text(as_of(stored, context.translate)), *blocks))

    async def _grouped(self, stored: StoredResult, arguments: RedrawArguments, context: ToolContext) -> StoredResult:
        """Stored as a new result without a query, since no query returned these rows."""
        whole = stored.result
        with suppress(WorkspaceError):
            whole, _ = await with_more_rows(whole, stored.unread, self._chunks, context.identity)
        try:
            result = grouped(whole, arguments.group_by, arguments.value)
        except GroupingError as error:
            raise ToolError(str(error)) from error
        kept = stored_now(context, stored.title, result, source=stored.source)
        kept = kept.model_copy(update={"as_of": stored.as_of})
        with suppress(StorageError):
            await self._results.save(context.conversation, kept)
        return kept

    async def _stored(self, arguments: RedrawArguments, context: ToolContext) -> StoredResult | None:
        identity = identity_key(context.identity)
        if arguments.result:
            return await self._results.find(context.conversation, identity, arguments.result)
        return await self._results.last(context.conversation, identity)
