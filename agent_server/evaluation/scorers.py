"""What can be said of an answer without a model. `outputs` is a Response object, `expectations` are those of the row.

Pure functions: `evaluation.py` makes MLflow's scorers of them. None where a row expects nothing of the kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.tools.redaction import without_secrets

Json = Mapping[str, Any]

_SEPARATOR = re.compile("(?<=[0-9])[,'\u2019\u202f\u00a0](?=[0-9])")
_TOOL_CALLS = {"function_call", "mcp_call"}


def answered(outputs: Json) -> bool:
    """Whether the answer is complete and says something."""
    return outputs.get("status") == "completed" and bool(answer_text(outputs).strip())


def has_expected_facts(outputs: Json, expectations: Json) -> bool | None:
    """Whether each of `expected_facts` is in the answer, in any case and with any separator of thousands."""
    facts = expectations.get("expected_facts")
    if not facts:
        return None
    text = _comparable(answer_text(outputs))
    return all(_comparable(fact) in text for fact in facts)


def called_expected_tools(outputs: Json, expectations: Json) -> bool | None:
    """Whether each of `expected_tools` was called. An empty list expects that none was."""
    expected = expectations.get("expected_tools")
    if expected is None:
        return None
    called = tool_names(outputs)
    return set(expected) <= called if expected else not called


def keeps_secrets(outputs: Json) -> bool:
    """Whether no token, key or password is in the answer."""
    text = answer_text(outputs)
    return without_secrets(text) == text


def total_tokens(outputs: Json) -> int | None:
    total = (outputs.get("usage") or {}).get("total_tokens")
    return total if isinstance(total, int) and total > 0 else None


def answer_text(outputs: Json) -> str:
    parts = [part for item in outputs.get("output") or () for part in _parts(item)]
    return "\n".join(text for part in parts if isinstance(text := part.get("text"), str))


def tool_names(outputs: Json) -> set[str]:
    return {str(item.get("name")) for item in outputs.get("output") or () if item.get("type") in _TOOL_CALLS}


def _parts(item: Json) -> list[Json]:
    content = item.get("content") if item.get("type") == "message" else None
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


def _comparable(text: Any) -> str:  # noqa: ANN401 - a fact may be a number
    return " ".join(_SEPARATOR.sub("", str(text).casefold()).split())
