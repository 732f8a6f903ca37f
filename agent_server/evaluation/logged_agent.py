"""The agent as a model of MLflow. `dev.py log-model` logs this file, and the code around it: MLflow runs it when the
model is loaded, and asks what is given to `set_model`.

What it answers with is the very server, in a thread: what a request may hold is the same here and there. It keeps
nothing of a request, and a `conversation` is the caller's to send along.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Generator
from typing import Any

from mlflow.models import ModelConfig, set_model
from mlflow.pyfunc import ResponsesAgent
from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse, ResponsesAgentStreamEvent

from agent_server.evaluation.agent_client import AgentClient
from agent_server.evaluation.local_server import LocalServer
from agent_server.protocol.mlflow_items import event_for_mlflow, response_for_mlflow

# Given when it is logged: the module whose `main()` is served.
_CONFIG = ModelConfig(development_config={"module": ""})
# What MLflow has of a request, but where it would be stored.
_FIELDS = {"input", "custom_inputs", "instructions", "max_output_tokens", "temperature", "top_p", "metadata"}


class LoggedAgent(ResponsesAgent):  # type: ignore[misc]
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: AgentClient | None = None

    def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:
        return ResponsesAgentResponse(**response_for_mlflow(self._connected().ask(_body(request))))

    def predict_stream(self, request: ResponsesAgentRequest) -> Generator[ResponsesAgentStreamEvent, None, None]:
        for event in self._connected().events(_body(request)):
            for each in event_for_mlflow(event):
                yield ResponsesAgentStreamEvent(**each)

    def _connected(self) -> AgentClient:
        # Now, and not when it is loaded: a model is also loaded to be looked at.
        with self._lock:
            if self._client is None:
                if module := _CONFIG.get("module"):
                    os.environ.setdefault("AGENT_SERVER_MODULE", module)
                os.environ.setdefault("DATA_DIR", tempfile.mkdtemp(prefix="agent-"))
                self._client = AgentClient(LocalServer().start())
            return self._client


def _body(request: ResponsesAgentRequest) -> dict[str, Any]:
    body: dict[str, Any] = request.model_dump(exclude_none=True, include=_FIELDS)
    return body


set_model(LoggedAgent())
