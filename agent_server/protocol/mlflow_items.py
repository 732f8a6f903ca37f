"""Events and responses as MLflow's ResponsesAgent takes them: it knows fewer types of items than OpenAI's clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

# mlflow/types/responses_helpers.py, OutputItem and Annotation, of MLflow 3.17.2.
_ITEMS = frozenset(
    {
        "computer_call",
        "file_search_call",
        "function_call",
        "function_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "message",
        "reasoning",
        "web_search_call",
    }
)
_ANNOTATIONS = frozenset({"file_citation", "file_path", "url_citation"})


def event_for_mlflow(event: Json) -> Iterator[Json]:
    """None, one or two for each."""
    match event["type"]:
        case "response.output_item.done":
            yield from ({**event, "item": item} for item in _items(event["item"]))
        case "response.output_text.annotation.added" if event["annotation"]["type"] not in _ANNOTATIONS:
            return
        case "response.completed":
            yield {**event, "response": response_for_mlflow(event["response"])}
        case _:
            yield event


def response_for_mlflow(response: Json) -> Json:
    return {**response, "output": [each for item in response["output"] for each in _items(item)]}


def _items(item: Json) -> Iterator[Json]:
    """A call that the server made is a call and its output, as MLflow's own agents say it."""
    kind = item["type"]
    if kind == "mcp_call":
        name, arguments = item["name"], item.get("arguments") or "{}"
        yield {"type": "function_call", "id": item["id"], "call_id": item["id"], "name": name, "arguments": arguments}
        output = item.get("output") or ("The call failed." if item.get("error") else "")
        yield {"type": "function_call_output", "call_id": item["id"], "output": output}
    elif kind == "message":
        parts = [_part(part) for part in item["content"]]
        if parts:
            yield {**item, "content": parts}
    elif kind in _ITEMS:
        yield item


def _part(part: Json) -> Json:
    known = [each for each in part.get("annotations") or () if each.get("type") in _ANNOTATIONS]
    return {**part, "annotations": known} if "annotations" in part else part
