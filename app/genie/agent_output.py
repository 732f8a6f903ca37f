"""What a person and the model get of a response of Genie's agent mode: report, result, and how Genie got there."""

from __future__ import annotations

from app.content.block_limits import within_limits
from app.content.blocks import Block, Code, Folded, FoldedBlock, Link, Text
from app.data.present import SHOW_SQL, present, stored_for_model
from app.data.stored_results import Query, StoredResult, stored_now
from app.genie.agent_response import AgentAnswer, AgentQuery
from app.genie.agent_result import result_of
from app.genie.genie_tool import HOW, without_query
from app.tools.base import ToolContext, ToolOutput
from app.translation import Translator

_MAX_REPORT_CHARACTERS = 12_000
_FOLDED_THOUGHTS = 4
_FOLDED_QUERIES = 5


def agent_output(
    answer: AgentAnswer, context: ToolContext, source: Link, sql_capability: str
) -> tuple[ToolOutput, StoredResult | None]:
    """The result that is shown, to be kept, is that of the last query that has one."""
    if not answer.queries and not answer.sources:
        return ToolOutput(without_query(answer.report)), None
    text, blocks = answer.report[:_MAX_REPORT_CHARACTERS], list[Block]()
    found = ((query, result_of(query)) for query in reversed(answer.queries))
    shown, result = next(((query, result) for query, result in found if result is not None), (None, None))
    stored: StoredResult | None = None
    if shown is not None and result is not None:
        query = Query(capability=sql_capability, sql=shown.sql) if sql_capability else None
        stored = stored_now(context, shown.title, result, query=query, source=source)
        text = f"{text}\n\n{stored_for_model(stored, context)}".strip()
        blocks += present(stored, context.translate)
        if query is None:
            blocks.append(within_limits(Folded(context.translate(SHOW_SQL), (Code(shown.sql, "sql"),))))
    if (details := _details(answer, shown, context.translate)) is not None:
        blocks.append(within_limits(details))
    return ToolOutput(text or "Genie gave no answer.", tuple(blocks), answer.sources), stored


def _details(answer: AgentAnswer, shown: AgentQuery | None, translate: Translator) -> Folded | None:
    details: list[FoldedBlock] = [Text(each) for each in answer.thoughts[:_FOLDED_THOUGHTS]]
    earlier = [query for query in answer.queries if query is not shown]
    details += [Code(query.sql, "sql", query.title) for query in earlier[:_FOLDED_QUERIES]]
    return Folded(translate(HOW), tuple(details)) if details else None
