"""Runs the query of a stored result again: for the button "Run again", and where its rows are no longer kept."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from pydantic import Field

from app.data.present import RUN_AGAIN, present, stored_for_model
from app.data.result_set import ResultSet
from app.data.stored_results import Query, StoredResult, StoredResults, stored_now
from app.databricks.statement_chunks import NextChunk
from app.storage.storage_errors import StorageError
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolOutput
from app.translation import Sentence, Translator

RERUN_SECONDS = 240.0
_MAX_ID_CHARACTERS = 100

GONE = Sentence("This result is no longer kept. Please ask again.")
_AS_OF = Sentence("As of {time} UTC.")
_RAN_AGAIN = Sentence("The query has run again, as of {time} UTC.")
_TITLE = Sentence("Running the query again")


class QueryRunner(Protocol):
    """A capability whose queries can be run again."""

    async def run_again(self, query: Query, context: ToolContext) -> tuple[ResultSet, NextChunk | None]:
        """Runs it as `context.identity`. Raises `ToolError` with a sentence."""
        ...


class ResultArguments(ToolArguments):
    result: str = Field(max_length=_MAX_ID_CHARACTERS)


class Reruns:
    """`runners` by `Query.capability`."""

    def __init__(self, results: StoredResults, runners: Mapping[str, QueryRunner]) -> None:
        self._results = results
        self._runners = runners

    @property
    def tool(self) -> AnyTool:
        return Tool(
            RUN_AGAIN,
            "Runs the query of a result again.",
            ResultArguments,
            self._run,
            Effect.READ_ONLY,
            RERUN_SECONDS,
            title=_TITLE,
            offered=False,
        )

    async def run_again(self, id: str, context: ToolContext) -> StoredResult | None:
        """Runs the query of the result `id` and stores what it returns as a new result. None if that query is not
        known any more. Raises `StorageError` and `ToolError`.
        """
        known = await self._results.find_query(context.conversation, id)
        query = known.query if known is not None else None
        runner = self._runners.get(query.capability) if query is not None else None
        if known is None or query is None or runner is None:
            return None
        result, unread = await runner.run_again(query, context)
        stored = stored_now(
            context,
            known.title,
            result,
            query=query,
            explanation=known.explanation,
            source=known.source,
            unread=unread,
        )
        with suppress(StorageError):
            await self._results.save(context.conversation, stored)
        return stored

    async def _run(self, arguments: ResultArguments, context: ToolContext) -> ToolOutput:
        stored = await self.run_again(arguments.result, context)
        if stored is None:
            return gone(context)
        blocks = present(stored, context.translate)
        return ToolOutput(stored_for_model(stored, context), blocks, sentence=ran_again(stored, context.translate))


def gone(context: ToolContext) -> ToolOutput:
    return ToolOutput(GONE.english, sentence=context.translate(GONE))


def as_of(stored: StoredResult, translate: Translator) -> str:
    return translate(_AS_OF, time=f"{stored.as_of:%Y-%m-%d %H:%M}")


def ran_again(stored: StoredResult, translate: Translator) -> str:
    return translate(_RAN_AGAIN, time=f"{stored.as_of:%Y-%m-%d %H:%M}")
