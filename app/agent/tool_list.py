"""Which tools there are, and which were used, as a person reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.agent.journal import RecordedSteps
from app.tools.base import AnyTool, Effect
from app.tools.redaction import without_secrets
from app.tools.registry import ToolRegistry
from app.translation import Sentence, Translator

if TYPE_CHECKING:
    from app.content.blocks import Block

_MAX_LISTED = 60
_MAX_TITLE_CHARACTERS = 100
_MAX_ARGUMENT_CHARACTERS = 200

_NONE = Sentence("I have no tools here.")
_TOOLS = Sentence("Tools that I can use:")
_NEEDS_APPROVAL = Sentence("{tool}, after an approval")
_MORE = Sentence("and {count} more")
_UNAVAILABLE = Sentence("Not available now:")
_WHAT_I_DID = Sentence("What I did")
_FAILED = Sentence("did not work")
_DONE = Sentence("done")


def tool_list(registry: ToolRegistry, translate: Translator) -> str:
    """Markdown, in which what others have written is code."""
    parts: list[str] = []
    if registry.tools:
        lines = [_line(tool, translate) for tool in registry.tools[:_MAX_LISTED]]
        if (left := len(registry.tools) - len(lines)) > 0:
            lines.append(translate(_MORE, count=left))
        parts.append(_listed(translate(_TOOLS), lines))
    if registry.unavailable:
        lines = [f"{_as_code(each.name)}: {translate(each.reason)}" for each in registry.unavailable]
        parts.append(_listed(translate(_UNAVAILABLE), lines))
    return "\n\n".join(parts) or translate(_NONE)


def unavailable_note(registry: ToolRegistry) -> str:
    """For the model; "" where everything is there."""
    if not registry.unavailable:
        return ""
    lines = [f"- {each.name}: {each.reason.english}" for each in registry.unavailable]
    return "\n".join(["\n\nNot available at the moment; say so where a question needs it:", *lines])


def what_was_done(steps: RecordedSteps, registry: ToolRegistry, translate: Translator) -> Block | None:
    """The calls of tools that have a title for people, in their order; None without any."""
    said: list[tuple[str, str]] = []
    for each in (call for step in steps.steps for call in step.calls):
        tool = registry.find(each.call.name)
        if tool is None or not tool.title or each.result is None:
            continue
        outcome = "" if each.result.succeeded else translate(_FAILED)
        shown = ": ".join(filter(None, [outcome, _arguments(each.call.arguments)]))
        said.append((tool.title_in(translate), shown or translate(_DONE)))
    if not said:
        return None
    from app.content.block_limits import within_limits  # noqa: PLC0415
    from app.content.blocks import Fact, Facts, Folded  # noqa: PLC0415

    facts = Facts(tuple(Fact(title, outcome) for title, outcome in said))
    return within_limits(Folded(translate(_WHAT_I_DID), (facts,)))


def _arguments(text: str) -> str:
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(arguments, dict):
        return ""
    values = (each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in arguments.values())
    return without_secrets(", ".join(" ".join(value.split()) for value in values))[:_MAX_ARGUMENT_CHARACTERS]


def _line(tool: AnyTool, translate: Translator) -> str:
    name = _as_code(tool.title_in(translate) if tool.title else tool.name.replace("_", " "))
    return translate(_NEEDS_APPROVAL, tool=name) if tool.effect is Effect.NEEDS_APPROVAL else name


def _listed(title: str, lines: Iterable[str]) -> str:
    return "\n".join([title, "", *(f"- {line}" for line in lines)])


def _as_code(name: str) -> str:
    return f"`{''.join(c for c in name if c.isprintable() and c != '`')[:_MAX_TITLE_CHARACTERS]}`"
