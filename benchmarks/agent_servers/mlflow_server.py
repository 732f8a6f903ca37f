"""The peer: MLflow's own AgentServer, untraced."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator
from typing import Any

import uvicorn

from benchmarks.agent_servers.hundred_deltas import hundred_deltas

os.environ["MLFLOW_TRACE_SAMPLING_RATIO"] = "0"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import mlflow
from mlflow.genai.agent_server import AgentServer, stream

mlflow.tracing.disable()


@stream()  # type: ignore[untyped-decorator]
async def answer(request: Any) -> AsyncGenerator[dict[str, Any], None]:  # noqa: ANN401 - MLflow's own type
    async for event in hundred_deltas():
        yield event


if __name__ == "__main__":
    app = AgentServer("ResponsesAgent").app
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[sys.argv.index("--port") + 1]), log_level="warning")
