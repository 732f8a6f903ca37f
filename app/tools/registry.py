"""The tools of one turn: looked up by name, run within limits; what goes wrong is told to the model.

Tools are added in app/composition/tool_providers.py.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, Self, runtime_checkable

from pydantic import ValidationError

from app.common.caller import Caller
from app.common.text import replace_lone_surrogates
from app.content.block_json import Blocks
from app.content.feedback_target import MAX_FEEDBACK_TARGETS
from app.models.model import ToolCall, ToolDefinition
from app.telemetry.gen_ai import end_tool_call, start_tool_call
from app.telemetry.spans import as_current
from app.tools.base import (
    AnyTool,
    Effect,
    ToolArguments,
    ToolContext,
    ToolError,
    ToolOutput,
    ToolResult,
    UnavailableTools,
)
from app.tools.redaction import redacted, without_secrets
from app.translation import Sentence

_log = logging.getLogger(__name__)

# As many as OpenAI accepts in one request.
MAX_TOOLS = 128
MAX_RESULT_CHARACTERS = 20_000
MAX_BLOCKS = 10
MAX_CITATIONS_PER_RESULT = 50
_MAX_READ_CHARACTERS = MAX_RESULT_CHARACTERS + 5_000
_LEFT_OUT = "\n[The rest, {characters} characters, was left out.]"
_MAX_PROBLEMS = 5
_MAX_PROBLEM_CHARACTERS = 300
_PROVIDER_SECONDS = 5.0
_CANCEL_GRACE_SECONDS = 2.0
_NOT_KNOWN_WHY = Sentence("it does not answer")


class ToolProvider(Protocol):
    """A capability, built once from its settings, that brings tools to each turn."""

    async def tools(self, caller: Caller) -> Sequence[AnyTool | UnavailableTools]:
        """Those that may be used for `caller`. After five seconds the turn continues without them."""
        ...


@runtime_checkable
class Closable(Protocol):
    """A provider that holds connections."""

    async def close(self) -> None: ...


class ToolRegistry:
    """Of two tools with one name, the first is kept. `unavailable` are those that there should be as well."""

    def __init__(self, tools: Sequence[AnyTool | UnavailableTools] = ()) -> None:
        self._tools: dict[str, AnyTool] = {}
        self.unavailable = tuple(tool for tool in tools if isinstance(tool, UnavailableTools))
        for tool in tools:
            if isinstance(tool, UnavailableTools):
                continue
            if tool.name in self._tools or len(self._tools) == MAX_TOOLS:
                _log.error("The tool %s is left out: its name is taken, or there are %d already", tool.name, MAX_TOOLS)
            else:
                self._tools[tool.name] = tool

    @classmethod
    async def for_turn(cls, providers: Sequence[ToolProvider], caller: Caller) -> Self:
        found = await asyncio.gather(*(_tools_of(provider, caller) for provider in providers))
        return cls([tool for tools in found for tool in tools])

    @property
    def tools(self) -> tuple[AnyTool, ...]:
        return tuple(self._tools.values())

    @property
    def offered(self) -> ToolRegistry:
        """Those that the model may call."""
        return ToolRegistry([*(tool for tool in self.tools if tool.offered), *self.unavailable])

    @property
    def for_buttons(self) -> ToolRegistry:
        """Those that a button may call: what comes with a press can be changed, so it calls nothing else."""
        return ToolRegistry([tool for tool in self.tools if not tool.offered])

    @property
    def definitions(self) -> tuple[ToolDefinition, ...]:
        return tuple(tool.definition for tool in self._tools.values())

    def find(self, name: str) -> AnyTool | None:
        return self._tools.get(name)

    def approval_arguments(self, call: ToolCall) -> ToolArguments | None:
        """What a person has to approve before `run`. None where the tool only reads, or the call would fail anyway."""
        tool = self._tools.get(call.name)
        if tool is None or tool.effect is not Effect.NEEDS_APPROVAL:
            return None
        try:
            return _arguments(tool, call)
        except ToolError:
            return None

    async def run(self, call: ToolCall, context: ToolContext) -> ToolResult:
        """Never raises for what the model or the tool did wrong."""
        # A name that the model made up is not recorded.
        name = call.name if call.name in self._tools else "unknown"
        with start_tool_call(name, call.arguments) as span, as_current(span):
            result, failure = await self._result(call, context)
            end_tool_call(span, result.text, failure)
        return result

    async def _result(self, call: ToolCall, context: ToolContext) -> tuple[ToolResult, str | None]:
        """The result, and the kind of failure if there was one."""
        try:
            tool = self._tools.get(call.name)
            if tool is None:
                raise ToolError(f"there is no tool of that name; there are: {', '.join(self._tools) or 'none'}")
            output = await _run(tool, _arguments(tool, call), context)
            blocks = _bounded(output.blocks) if output.blocks else ()
        except ToolError as failure:
            text = _shortened(f"The tool failed: {failure}")
            sentence = _shortened(failure.sentence)
            return ToolResult(text, False, is_untrusted=True, sentence=sentence), type(failure).__name__
        except Exception as error:
            _log.exception("Tool %s failed unexpectedly", call.name)
            return failed("The tool failed for a reason that is not known."), type(error).__name__
        citations = redacted(output.citations[:MAX_CITATIONS_PER_RESULT])
        text, sentence = _shortened(output.text), _shortened(output.sentence)
        targets = output.feedback_targets[:MAX_FEEDBACK_TARGETS]
        result = ToolResult(text, True, blocks, citations, True, sentence, targets)
        return result, None


def _bounded(blocks: Blocks) -> Blocks:
    from app.content.block_limits import within_limits  # noqa: PLC0415

    return redacted(tuple(within_limits(block) for block in blocks[:MAX_BLOCKS]))


def failed(text: str) -> ToolResult:
    return ToolResult(_shortened(text), succeeded=False)


async def _tools_of(provider: ToolProvider, caller: Caller) -> Sequence[AnyTool | UnavailableTools]:
    try:
        async with asyncio.timeout(_PROVIDER_SECONDS):
            return await provider.tools(caller)
    except Exception:
        _log.exception("%s brings no tools to this turn", type(provider).__name__)
        return (UnavailableTools(type(provider).__name__, _NOT_KNOWN_WHY),)


async def _run(tool: AnyTool, arguments: ToolArguments, context: ToolContext) -> ToolOutput:
    seconds = min(tool.timeout_seconds, context.seconds_left())
    context = replace(context, deadline=asyncio.get_running_loop().time() + seconds)
    task = asyncio.ensure_future(tool.run(arguments, context))
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise ToolError(f"it did not end within {seconds:g} seconds")
        if task.cancelled():
            raise ToolError("it was cancelled")
        try:
            return task.result()
        except TimeoutError:
            raise ToolError("something that it waits for took too long") from None
    finally:
        await _end(task, tool.name)


async def _end(task: asyncio.Future[Any], name: str) -> None:
    if task.done():
        return
    task.cancel()
    await asyncio.wait({task}, timeout=_CANCEL_GRACE_SECONDS)
    if not task.done():
        _log.error("Tool %s still runs though it was cancelled %g seconds ago", name, _CANCEL_GRACE_SECONDS)
    elif not task.cancelled() and (error := task.exception()):
        _log.warning("Tool %s failed when it was cancelled", name, exc_info=error)


def _arguments(tool: AnyTool, call: ToolCall) -> ToolArguments:
    """Raises `ToolError`."""
    try:
        arguments: ToolArguments = tool.arguments.model_validate_json(_object_of(call.arguments))
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, problem['loc']))} {problem['msg']}".strip()[:_MAX_PROBLEM_CHARACTERS]
            for problem in error.errors(include_url=False, include_input=False, include_context=False)[:_MAX_PROBLEMS]
        ]
        raise ToolError(f"its arguments are not as described: {'; '.join(problems)}") from None
    return arguments


def _object_of(arguments: str) -> str:
    """Some models write the object as a text in JSON, or line ends in its texts as they are. Seen in
    https://github.com/quarkiverse/quarkus-langchain4j/pull/2642 and https://github.com/openclaw/openclaw/pull/141323
    """
    written = arguments.strip() or "{}"
    try:
        value = json.loads(written, strict=False)
        written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    return replace_lone_surrogates(written)


def _shortened(text: str) -> str:
    """Without secrets as well: one that the cut goes through is looked for in what is left out too."""
    left_out = len(text) - MAX_RESULT_CHARACTERS
    text = without_secrets(replace_lone_surrogates(text[:_MAX_READ_CHARACTERS]))[:MAX_RESULT_CHARACTERS]
    return text if left_out <= 0 else text + _LEFT_OUT.format(characters=left_out)
