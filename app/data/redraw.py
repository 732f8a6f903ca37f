"""The tool that draws the last result again: from what is stored, never from a model's memory of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from app.common.caller import Caller
from app.common.identity import identity_key
from app.content.blocks import ChartKind, Text
from app.data.chart_choice import chart_of
from app.data.present import present
from app.data.stored_results import StoredResults
from app.storage.artifacts import ArtifactStore
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolError, ToolOutput
from app.translation import Sentence

_AS_OF = Sentence("As of {time} UTC.")
_TITLE = Sentence("Drawing the result again")
_DESCRIPTION = (
    "Draws the last result of this conversation again, as another kind of chart or as a table. Use it when the person "
    "wants to see the same numbers in another way. It runs no query."
)


class RedrawArguments(ToolArguments):
    chart: Literal["vertical_bar", "horizontal_bar", "grouped_bar", "stacked_bar", "line", "pie", "table"] = Field(
        description="how the result is to be drawn"
    )


class RedrawTools:
    """A `app.tools.registry.ToolProvider`."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._results = StoredResults(artifacts)

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return [
            Tool(
                "redraw_result", _DESCRIPTION, RedrawArguments, self._redraw, Effect.READ_ONLY, 15, title=_TITLE
            )
        ]  # fmt: skip

    async def _redraw(self, arguments: RedrawArguments, context: ToolContext) -> ToolOutput:
        stored = await self._results.last(context.conversation, identity_key(context.identity))
        if stored is None:
            raise ToolError("there is no result in this conversation yet; ask for the data first")
        wanted = None if arguments.chart == "table" else ChartKind(arguments.chart)
        blocks = present(stored.result, context.translate, title=stored.title, sql=stored.sql, wanted=wanted)
        if wanted is None:
            blocks = tuple(block for block in blocks if block.kind != "chart")
        elif chart_of(stored.result, wanted) is None:
            raise ToolError(f"the result cannot be drawn as {arguments.chart}: it has negative or missing numbers, too "
                            "many values, or no number and label")  # fmt: skip
        as_of = context.translate(_AS_OF, time=f"{stored.as_of:%Y-%m-%d %H:%M}")
        # Without the time, which the model would say a second time.
        return ToolOutput(f"The stored result is drawn as {arguments.chart}.", (Text(as_of), *blocks))
