"""What the stand-in's serving endpoint says by script: calls of the offered tools, which its tiny model cannot make.

A question that looks like data goes to the Genie tool, "as a pie chart" to the one that draws a result again. Where
there are files, an attached one is shown, and a question in SQL goes to them. `weather {"city": "Rome"}` calls the tool
of that name with these arguments. What the script does not know is left to the model.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.local.genie_questions import looks_like_data

_CHARTS = {
    "pie": r"pie|donut|kuchen",
    "line": r"lines?",
    "horizontal_bar": r"horizontal bars?",
    "stacked": r"stacked(?: bars?)?",
    "grouped": r"grouped(?: bars?)?",
    "bar": r"bars?|columns?",
    "table": r"tables?",
}
_REDRAW_WORDS = frozenset({"as", "into", "in", "like"})
_NO_KIND = frozenset({"a", "an", "chart", "charts", "graph", "graphs", "diagram", "diagrams", "please"})
_MAX_KIND_WORDS = 6
_MARKED_AS_DATA = re.compile(r'\[Data from a tool, until "end (\w+)"[^\n]*\n(.*)\n\[end \1\]', re.DOTALL)
_FAILED = "The tool failed"
_INTRODUCTIONS = (
    "Genie needs to know more. Ask the person exactly this, and do not guess: ",
    "Genie ran no query. It says: ",
)
_ATTACHED = "Attached file: "
_TABLE = re.compile(r'^- "(\w{1,60})" from the file ', re.MULTILINE | re.ASCII)
_PIECE_CHARACTERS = 12
_MAX_TEXT = 2000


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    name: str
    arguments: Mapping[str, Any]


ScriptedAnswer = str | ScriptedCall


def scripted_answer(messages: Sequence[Mapping[str, Any]], tools: object) -> ScriptedAnswer | None:
    """None where the model answers. `messages` and `tools` are those of a chat completions request."""
    last = messages[-1] if messages else {}
    if last.get("role") == "tool":
        return _after(str(last.get("content") or ""))
    offered = _functions(tools)
    if last.get("role") != "user" or not offered:
        return None
    question = _text(last.get("content"))
    if (call := _written_call(question, offered)) is not None:
        return call
    if (chart := _wanted_chart(question)) and (redraw := _named(offered, "redraw")):
        return ScriptedCall(str(redraw["name"]), _chart_arguments(redraw, chart))
    if (files := _named(offered, "query_files")) and (sql := _wanted_sql(question, files)):
        return ScriptedCall(str(files["name"]), {"sql": sql})
    if looks_like_data(question) and (genie := _named(offered, "genie")):
        return ScriptedCall(str(genie["name"]), {_question_argument(genie): question})
    return None


def completion(answer: ScriptedAnswer, model: str) -> dict[str, Any]:
    """The whole answer to a request without `stream`."""
    message: dict[str, Any] = {"role": "assistant", "content": answer if isinstance(answer, str) else None}
    if isinstance(answer, ScriptedCall):
        message["tool_calls"] = [_call(answer)]
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(answer)}
    return {**_head(model, "chat.completion"), "choices": [choice], "usage": _USAGE}


def completion_chunks(answer: ScriptedAnswer, model: str) -> Iterator[bytes]:
    """The events of the answer to a request with `stream`."""
    head = _head(model, "chat.completion.chunk")
    for delta in _deltas(answer):
        yield _event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    yield _event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": _finish_reason(answer)}]})
    yield _event({**head, "choices": [], "usage": _USAGE})
    yield b"data: [DONE]\n\n"


def _deltas(answer: ScriptedAnswer) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": "" if isinstance(answer, str) else None}
    if isinstance(answer, str):
        for start in range(0, len(answer), _PIECE_CHARACTERS):
            yield {"content": answer[start : start + _PIECE_CHARACTERS]}
        return
    call = _call(answer)
    arguments = call["function"]["arguments"]
    yield {"tool_calls": [{"index": 0, **call, "function": {"name": answer.name, "arguments": ""}}]}
    for start in range(0, len(arguments), _PIECE_CHARACTERS):
        piece = arguments[start : start + _PIECE_CHARACTERS]
        yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}


def _after(result: str) -> str:
    """What the tool says in words, as a model would repeat it; the person sees the rows below."""
    if marked := _MARKED_AS_DATA.match(result):
        result = marked[2]
    if result.startswith(_FAILED):
        return f"That did not work. {result}"[:_MAX_TEXT]
    words = result.strip().partition("\n")[0]
    for introduction in _INTRODUCTIONS:
        words = words.removeprefix(introduction)
    return words[:_MAX_TEXT] if words and not words.startswith("[") else "Here is what the data says."


def _written_call(question: str, functions: Sequence[Mapping[str, Any]]) -> ScriptedCall | None:
    name, _, written = question.rpartition("\n\n")[2].strip().partition(" ")
    if not written.startswith("{") or all(one["name"] != name for one in functions):
        return None
    try:
        arguments = json.loads(written)
    except (ValueError, RecursionError):
        return None
    return ScriptedCall(name, arguments)


def _wanted_chart(question: str) -> str | None:
    last = [word.strip(",.!?") for word in question[-_MAX_TEXT:].lower().split()[-_MAX_KIND_WORDS:]]
    starts = [number for number, word in enumerate(last) if word in _REDRAW_WORDS]
    wanted = " ".join(word for word in last[starts[-1] + 1 :] if word not in _NO_KIND) if starts else ""
    return next((kind for kind, words in _CHARTS.items() if re.fullmatch(words, wanted)), None)


def _wanted_sql(question: str, files: Mapping[str, Any]) -> str:
    *context, words = question.split("\n\n")
    if words.lower().startswith("select "):
        return words
    tables = _TABLE.findall(str(files.get("description") or ""))
    return f'SELECT * FROM "{tables[-1]}"' if tables and any(each.startswith(_ATTACHED) for each in context) else ""


def _functions(tools: object) -> list[Mapping[str, Any]]:
    if not isinstance(tools, list):
        return []
    functions = [one.get("function") for one in tools if isinstance(one, dict)]
    return [one for one in functions if isinstance(one, dict) and isinstance(one.get("name"), str)]


def _named(functions: Sequence[Mapping[str, Any]], part: str) -> Mapping[str, Any] | None:
    return next((one for one in functions if part in one["name"].lower()), None)


def _question_argument(function: Mapping[str, Any]) -> str:
    required = function.get("parameters", {}).get("required") or ["question"]
    return "question" if "question" in required else str(required[0])


def _chart_arguments(function: Mapping[str, Any], chart: str) -> dict[str, Any]:
    """The argument whose allowed values include one for the kind of chart."""
    parameters = function.get("parameters", {})
    definitions = parameters.get("$defs", {})
    for name, schema in parameters.get("properties", {}).items():
        values = _allowed_values(schema, definitions)
        for value in sorted(values, key=lambda one: (one != chart, len(one))):
            if chart in value:
                return {name: value}
    return {"chart": chart}


def _allowed_values(schema: Any, definitions: Mapping[str, Any]) -> list[str]:  # noqa: ANN401 - JSON
    if not isinstance(schema, dict):
        return []
    if "$ref" in schema:
        return _allowed_values(definitions.get(str(schema["$ref"]).rpartition("/")[2]), {})
    values = [one for one in schema.get("enum", []) if isinstance(one, str)]
    for option in schema.get("anyOf", []):
        values += _allowed_values(option, definitions)
    return values


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _call(call: ScriptedCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}


def _finish_reason(answer: ScriptedAnswer) -> str:
    return "stop" if isinstance(answer, str) else "tool_calls"


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{secrets.token_hex(12)}", "object": kind, "created": int(time.time()), "model": model}


def _event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
