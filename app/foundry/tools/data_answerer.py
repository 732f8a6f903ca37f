"""`ask_data`: Genie answers, with the numbers, the SQL behind them, and a link to the space."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.common.caller import Caller
from app.common.cancellation import Cancellation
from app.common.identity import APP_IDENTITY, identity_key
from app.content.citation import Citation
from app.databricks.workspace_errors import WorkspaceError
from app.foundry.tools.answer_markdown import answer_markdown
from app.foundry.tools.call_conversation import TENANT, Forget, call_conversation
from app.foundry.tools.foundry_tool import FailedCallError, RefusedCallError, ToolCallContext
from app.foundry.tools.tool_definitions import space_names
from app.models.model import ToolCall
from app.storage.conversations import ConversationKey
from app.storage.storage_errors import StorageError
from app.tools.base import ToolContext, ToolResult
from app.tools.redaction import redacted
from app.tools.registry import ToolRegistry
from app.translation import translator_for

if TYPE_CHECKING:
    from app.content.blocks import Block
    from app.data.stored_results import StoredResult, StoredResults
    from app.genie.provider import GenieTools
    from app.settings.genie_settings import GenieSpace

_LOCALE = "en"
_CALLER = Caller(TENANT)
_MAX_ROWS = 100
_MAX_SPACES_NAMED = 20


@dataclass(frozen=True, slots=True)
class DataAnswerer:
    """A `QuestionAnswerer`. `genie` and `results` are called with the first question."""

    genie: Callable[[], GenieTools]
    results: Callable[[], StoredResults]
    forget: Forget

    async def about(self, wanted: str) -> str:
        """The name of the tool of the space that is `wanted`, by its alias, id or name."""
        spaces = await self._spaces()
        found = [name for name, space in spaces.items() if wanted and _is_meant(wanted, name, space)]
        if not found and not wanted:
            found = list(spaces)
        if len(found) == 1:
            return found[0]
        names = space_names(list(spaces.values()))
        more = f" and {len(names) - _MAX_SPACES_NAMED} more" if len(names) > _MAX_SPACES_NAMED else ""
        said = f"{', '.join(names[:_MAX_SPACES_NAMED])}{more}" if names else "none that this agent may use"
        problem = "There is no Genie space of that name." if wanted and not found else "It is not clear which data."
        raise RefusedCallError(f"{problem} Put one of these into space: {said}.")

    async def answer(self, question: str, about: str, context: ToolCallContext) -> str:
        from app.genie.genie_sentences import workspace_sentence  # noqa: PLC0415

        try:
            registry = ToolRegistry(await self.genie().tools(_CALLER))
        except WorkspaceError as error:
            raise FailedCallError(workspace_sentence(error).english) from error
        cancellation = context.cancellation or Cancellation()
        async with call_conversation(about, context.call_id, question, cancellation, self.forget) as conversation:
            conversation.is_used = True
            key = conversation.key
            tool_context = ToolContext(
                key,
                _CALLER,
                APP_IDENTITY,
                _LOCALE,
                cancellation,
                idempotency_key=key.conversation,
                progress=context.progress,
                deadline=context.deadline,
            )
            call = ToolCall(key.conversation, about, json.dumps({"question": question}))
            result = await registry.run(call, tool_context)
            if not result.succeeded:
                raise FailedCallError(result.sentence or result.text)
            return _text_of(result, await self._stored(key))

    async def _spaces(self) -> Mapping[str, GenieSpace]:
        from app.genie.genie_sentences import workspace_sentence  # noqa: PLC0415

        try:
            return await self.genie().spaces()
        except WorkspaceError as error:
            raise FailedCallError(workspace_sentence(error).english) from error

    async def _stored(self, conversation: ConversationKey) -> StoredResult | None:
        """The whole result, of which people are shown a page."""
        try:
            return await self.results().last(conversation, identity_key(APP_IDENTITY))
        except StorageError:
            return None


def _is_meant(wanted: str, tool: str, space: GenieSpace) -> bool:
    return wanted.casefold() in (space.id.casefold(), space.alias.casefold(), tool)


def _text_of(result: ToolResult, stored: StoredResult | None) -> str:
    text, blocks = result.text, list(result.blocks)
    if stored is not None:
        from app.data.present import for_model  # noqa: PLC0415

        text = text.removesuffix(for_model(stored.result, stored.id))
        blocks = [_with_more_rows(block, stored) for block in blocks]
    citations = [Citation(n, each.title, each.url, each.quote) for n, each in enumerate(result.citations, start=1)]
    return answer_markdown(text, blocks, citations)


def _with_more_rows(block: Block, stored: StoredResult) -> Block:
    if block.kind != "table" or block.page is None:
        return block
    from app.content.block_limits import within_limits  # noqa: PLC0415
    from app.data.present import page_of  # noqa: PLC0415

    whole = page_of(stored, translator_for(_LOCALE), title=block.title, page_rows=_MAX_ROWS)
    return redacted((within_limits(whole),))[0]
