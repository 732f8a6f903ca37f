"""The agent as an MCP server: `ask`, `get_answer` where answers are kept, and the agent's tools that only read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request

from agent_server.identity.server_caller import ServerCaller
from agent_server.mcp.served_tools import ServedTools
from agent_server.protocol.api_error import ApiError


@dataclass(frozen=True, slots=True)
class AskAnswer:
    """`is_running`: it is not complete yet, and can be had later by `response_id`."""

    text: str
    response_id: str = ""
    is_running: bool = False
    failed: bool = False


class AskedAgent(Protocol):
    """Raises `ApiError`. `keeps_answers`: `get` works, and an answer can be followed up."""

    @property
    def keeps_answers(self) -> bool: ...

    async def ask(self, request: Request, question: str, previous_response_id: str) -> AskAnswer: ...

    async def get(self, request: Request, response_id: str) -> AskAnswer: ...


@dataclass(frozen=True, slots=True)
class McpServices:
    name: str
    version: str
    description: str
    agent: AskedAgent
    caller_of: Callable[[Request], ServerCaller]
    tools: ServedTools | None


def text_of(response: dict[str, Any]) -> AskAnswer:
    """A Response object as the result of a tool."""
    response_id = str(response.get("id") or "")
    status = response.get("status")
    output = [item for item in response.get("output") or [] if isinstance(item, dict)]
    parts = [
        part.get("text") or part.get("refusal") or ""
        for item in output
        if item.get("type") == "message"
        for part in item.get("content") or []
    ]
    text = "\n\n".join(filter(None, parts))
    if status in ("queued", "in_progress"):
        return AskAnswer("The answer is not complete yet.", response_id, is_running=True)
    if any(item.get("type") == "mcp_approval_request" for item in output):
        asks = "The agent waits for a person to approve a tool. That is done in the agent's page, or with its API."
        text = "\n\n".join(filter(None, [text, asks]))
    if status == "failed":
        fault = (response.get("error") or {}).get("message") or "The agent could not answer."
        return AskAnswer("\n\n".join(filter(None, [text, fault])), response_id, failed=True)
    return AskAnswer(text or "(The agent answered without any text.)", response_id)


def failed_answer(error: ApiError) -> AskAnswer:
    return AskAnswer(error.message, failed=True)
