"""Agents that delegate to each other, whichever API of Foundry they live in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Report = Callable[[str], None]
"""Told one line of progress: ids and statuses, nothing that anybody wrote."""


@dataclass(frozen=True, slots=True)
class OrchestratedAnswer:
    """`tool_calls` names the tools that were called on the way; empty where the models answered by themselves."""

    text: str
    tool_calls: tuple[str, ...]


class Orchestrator(Protocol):
    """An orchestrator that delegates to a specialist that uses our tools. Raises `FoundryError`."""

    async def check(self) -> None:
        """Whether the project can have the agents. Makes nothing."""
        ...

    async def create(self) -> None:
        """Brings the agents to what they should be. Where it fails or is cancelled, it removes what it has made."""
        ...

    async def ask(self, question: str, time_limit_seconds: float) -> OrchestratedAnswer:
        """Uses the agents that `create` made. All else that it makes is removed in the end."""
        ...

    async def delete(self) -> tuple[str, ...]:
        """Removes all that is ours, whoever left it. What could not be removed, one line each."""
        ...
