"""An agent that needs no Databricks, as somebody would write it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from agent_server.mlflow_config import setup_mlflow
from agent_server.server import create_server, stream


@stream()
async def answer(request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    question = request["input"][-1]["content"]
    text = question if isinstance(question, str) else question[-1]["text"]
    for piece in ("You asked: ", text):
        yield {"type": "response.output_text.delta", "item_id": "msg_1", "delta": piece}


def main() -> None:
    create_server("agent/v1/responses")
    setup_mlflow()
