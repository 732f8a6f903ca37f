"""A tool for each specialist, which asks its endpoint and returns its answer with what it cites."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import aclosing

from pydantic import Field

from app.common.caller import Caller
from app.content.feedback_target import FeedbackTarget, TraceTarget
from app.databricks.workspace_client import WorkspaceClient
from app.databricks_client import DatabricksModel
from app.models.model import Completed, Message, Model, ModelRequest, Source, TextDelta
from app.models.model_errors import ModelError
from app.settings.specialist_settings import Specialist, SpecialistSettings
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolError, ToolOutput
from app.translation import Sentence

ASK_SECONDS = 180.0
MAX_ANSWER_CHARACTERS = 50_000
_MAX_LINE_CHARACTERS = 120
_REFERENCE = re.compile(r"\[\^?(\d{1,2})\]")

_ASKING = Sentence("Asking {name}")


class SpecialistArguments(ToolArguments):
    question: str = Field(
        max_length=20_000,
        description="All that it needs to know: it sees nothing of this conversation.",
    )


class Specialists:
    """`make_model` is given the name of an endpoint; no endpoint is asked before its tool is called."""

    def __init__(
        self,
        settings: SpecialistSettings,
        workspace: WorkspaceClient,
        *,
        make_model: Callable[[str, WorkspaceClient], Model] = DatabricksModel,
    ) -> None:
        self._specialists = settings.specialists
        self._models = {each.name: make_model(each.endpoint, workspace) for each in settings.specialists}

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return [self._tool(each) for each in self._specialists]

    async def close(self) -> None:
        for model in self._models.values():
            await model.close()

    def _tool(self, specialist: Specialist) -> AnyTool:
        async def ask(arguments: SpecialistArguments, context: ToolContext) -> ToolOutput:
            context.progress(context.translate(_ASKING, name=specialist.name))
            return await _answer(self._models[specialist.name], specialist, arguments.question, context)

        return Tool(
            f"ask_{specialist.name}",
            specialist.description or f"Asks {specialist.name}, which knows more of its subject.",
            SpecialistArguments,
            ask,
            Effect.READ_ONLY,
            timeout_seconds=ASK_SECONDS,
            title=specialist.name,
        )


async def _answer(model: Model, specialist: Specialist, question: str, context: ToolContext) -> ToolOutput:
    """Raises `ToolError`."""
    text, line = "", ""
    sources: list[Source] = []
    truncated = False
    rated_at: tuple[FeedbackTarget, ...] = ()
    request = ModelRequest((Message("user", question),), identity=context.identity)
    try:
        async with aclosing(model.stream(request)) as events:
            async for event in events:
                match event:
                    case TextDelta(added):
                        text += added
                        *lines, line = (line + added).split("\n")
                        if said := next((each.strip() for each in reversed(lines) if each.strip()), ""):
                            context.progress(f"{specialist.name}: {said[:_MAX_LINE_CHARACTERS]}")
                    case Source():
                        sources.append(event)
                    case Completed():
                        truncated = event.truncated
                        rated_at = (TraceTarget(event.trace_id),) if event.trace_id else ()
                if len(text) > MAX_ANSWER_CHARACTERS:
                    truncated = True
                    break
    except ModelError as error:
        raise ToolError(f"{specialist.name} did not answer ({type(error).__name__})") from error
    if not text.strip():
        raise ToolError(f"{specialist.name} answered without any text")
    text = _with_titles(text[:MAX_ANSWER_CHARACTERS], sources)
    note = "\n[The answer was cut off.]" if truncated else ""
    return ToolOutput(text + note, citations=tuple(sources), feedback_targets=rated_at)


def _with_titles(text: str, sources: Sequence[Source]) -> str:
    """Its `[n]` as the titles of its sources: the agent gives them numbers of its own."""

    def title(reference: re.Match[str]) -> str:
        number = int(reference[1])
        return f"[source: {sources[number - 1].title}]" if 1 <= number <= len(sources) else reference[0]

    return _REFERENCE.sub(title, text)
