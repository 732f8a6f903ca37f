"""Removes what is ours from a project's classic agents and threads, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from app.foundry.agents.agent_settings import AgentProgramSettings
from app.foundry.agents.classic_client import ClassicAgent, ClassicProject
from app.foundry.agents.classic_run import read_run
from app.foundry.agents.definitions import is_our_agent, is_ours, orchestrator_name
from app.foundry.agents.foundry_errors import FoundryError, NotFoundError
from app.foundry.agents.orchestrator import Report

_Result = TypeVar("_Result")


class ClassicRemoval:
    """A step that fails does not keep the next ones from being tried; `left` says what is still there, and why."""

    def __init__(self, project: ClassicProject, settings: AgentProgramSettings, report: Report) -> None:
        self._project = project
        self._settings = settings
        self._report = report
        self.left: list[str] = []

    async def remove_everything(self) -> None:
        """Runs that have not ended, the orchestrator, the specialists, then the threads."""
        threads = await self._our_threads()
        for thread_id in threads:
            await self._cancel_runs(thread_id)
        await self.remove_agents(await self._our_agents())
        for thread_id in threads:
            await self._delete_thread(thread_id)

    async def remove_question(self, thread_id: str, question_id: str) -> None:
        """What one question has made; without `thread_id` it is found by its mark."""
        threads = [thread_id] if thread_id else await self._our_threads(question_id)
        for each in threads:
            await self._cancel_runs(each)
            await self._delete_thread(each)

    async def remove_run_of_creation(self, run: str) -> None:
        """The agents that one run of `create` has made."""
        agents = await self._our_agents()
        await self.remove_agents([each for each in agents if each.metadata.get("run") == run])

    async def remove_agents(self, agents: Iterable[ClassicAgent]) -> None:
        # The orchestrator would go on delegating.
        first = orchestrator_name(self._settings)
        for each in sorted(agents, key=lambda agent: (not agent.name.startswith(first), agent.name)):
            if await self._done(f"agent {each.name} ({each.id})", partial(self._project.delete_agent, each.id)):
                self._report(f"{each.name}: {each.id} removed")

    async def _our_agents(self) -> list[ClassicAgent]:
        listed = await self._try("the agents, which could not be listed", self._project.agents) or ()
        return [each for each in listed if is_our_agent(each.name, each.metadata, self._settings)]

    async def _our_threads(self, question_id: str = "") -> list[str]:
        listed = await self._try("threads, which could not be listed", self._project.threads) or ()
        ours = [each for each in listed if is_ours(each.metadata, self._settings)]
        return [each.id for each in ours if not question_id or each.metadata.get("question") == question_id]

    async def _cancel_runs(self, thread_id: str) -> None:
        what = f"runs of {thread_id}, which could not be listed"
        for each in await self._try(what, partial(self._runs, thread_id)) or ():
            run = read_run(each)
            cancel = partial(self._project.cancel_run, thread_id, run.id)
            if not run.has_ended and await self._done(f"run {run.id}", cancel):
                self._report(f"{run.id}: cancelled")

    async def _runs(self, thread_id: str) -> tuple[Mapping[str, Any], ...]:
        try:
            return await self._project.runs(thread_id)
        except NotFoundError:
            # The thread is gone.
            return ()

    async def _delete_thread(self, thread_id: str) -> None:
        if await self._done(f"thread {thread_id}", partial(self._project.delete_thread, thread_id)):
            self._report(f"{thread_id}: removed")

    async def _done(self, what: str, call: Callable[[], Awaitable[None]]) -> bool:
        async def and_say_so() -> bool:
            await call()
            return True

        return await self._try(what, and_say_so) is not None

    async def _try(self, what: str, call: Callable[[], Awaitable[_Result]]) -> _Result | None:
        try:
            return await call()
        except FoundryError as error:
            line = f"{what}: {error}"
            if line not in self.left:
                self.left.append(line)
            return None
