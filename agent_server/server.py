"""For people who write an agent: the decorators, and the server that serves what they decorate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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


_recorded: ContextVar[list[AgentServer]] = ContextVar("recorded_servers")


@contextmanager
def recorded_servers() -> Iterator[list[AgentServer]]:
    """The list of all that `create_server` makes inside: for the command, which calls the `main()` of a module."""
    servers: list[AgentServer] = []
    token = _recorded.set(servers)
    try:
        yield servers
    finally:
        _recorded.reset(token)


def create_server(task: str | None = None, *, databricks_agent: bool = False) -> AgentServer:
    """Says what the command `agent-server` is to serve. Raises `ValueError` for an unknown task type."""
    if task and task not in list(Task):
        raise ValueError(f"There is no task type {task!r}. Known are {', '.join(filter(None, Task))}, and none.")
    server = AgentServer(Task(task or ""), databricks_agent)
    if (recorded := _recorded.get(None)) is not None:
        recorded.append(server)
    return server
