"""For people who write an agent: the decorators, and the server that serves what they decorate."""

from __future__ import annotations

from dataclasses import dataclass

from agent_server.handlers.registry import agent, invoke, stream
from agent_server.protocol.task import Task

__all__ = ["AgentServer", "agent", "create_server", "invoke", "stream"]


@dataclass(frozen=True, slots=True)
class AgentServer:
    """What is to be served. With `databricks_agent` the handlers may call `agent_server.databricks_agent.ask_agent`,
    and responses are stored where a request does not say otherwise.
    """

    task: Task = Task.NONE
    databricks_agent: bool = False


def create_server(task: str | None = None, *, databricks_agent: bool = False) -> AgentServer:
    """Says what the command `agent-server` is to serve. Raises `ValueError` for an unknown task type."""
    return AgentServer(Task(task or ""), databricks_agent)
