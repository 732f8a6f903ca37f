"""Brings the agents of a project to what they should be, with as few new versions as possible."""

from __future__ import annotations

import asyncio
import uuid

from app.foundry.agents.agent_settings import AgentProgramSettings
from app.foundry.agents.definitions import AgentPlan, is_as_planned, is_our_agent, is_ours, mark
from app.foundry.agents.foundry_errors import FoundryError, RefusedError, UnavailableError
from app.foundry.agents.orchestrator import Report
from app.foundry.agents.project_client import AgentVersion, FoundryProject
from app.foundry.agents.removal import delete_versions
from app.resilience.retry import Backoff, retry

# A question that is being answered may have pinned the one before the latest.
_KEPT_VERSIONS = 2
_UNDO_SECONDS = 60.0
_BACKOFF = Backoff(first_seconds=2, longest_seconds=15, attempts=4, jitter=0.5)


class AgentCreation:
    def __init__(self, project: FoundryProject, settings: AgentProgramSettings, report: Report) -> None:
        self._project = project
        self._settings = settings
        self._report = report
        # Names the versions of this run, so that one whose answer was lost is found.
        self._run = uuid.uuid4().hex
        self._started: list[str] = []

    async def bring_up(self, plans: tuple[AgentPlan, ...]) -> None:
        """Raises `FoundryError`; what this run has made is then removed, as far as Foundry lets it."""
        try:
            for plan in plans:
                await self._bring_up(plan)
        except (Exception, asyncio.CancelledError):
            await self._undo()
            raise
        try:
            for plan in plans:
                await self._prune(plan)
            await self._remove_extra({plan.name for plan in plans})
        except FoundryError as error:
            # It does no harm, and is removed by the next run.
            self._report(f"Something of before may be left. {error}")

    async def _bring_up(self, plan: AgentPlan) -> None:
        latest = await self._project.latest_version(plan.name)
        if latest is not None and not is_ours(latest.metadata, self._settings):
            raise RefusedError(
                f"The project has an agent {plan.name} that this program did not make. "
                "Choose another FOUNDRY_AGENT_NAME."
            )
        if latest is not None and is_as_planned(plan, latest.definition, latest.metadata):
            self._report(f"{plan.name}: version {latest.version} is as it should be")
            return
        self._started.append(plan.name)

        def pause_after(failure: Exception, attempt: int) -> float | None:
            if not isinstance(failure, UnavailableError):
                return None
            pause = _BACKOFF.pause_seconds(attempt)
            return None if pause is None else max(pause, failure.retry_after_seconds or 0)

        made = await retry(lambda: self._create(plan), pause_after, limit_seconds=120)
        self._report(f"{plan.name}: created version {made.version}")

    async def _create(self, plan: AgentPlan) -> AgentVersion:
        """May be called again: a version that an earlier call made without our hearing of it is used."""
        latest = await self._project.latest_version(plan.name)
        if latest is not None and self._is_of_this_run(latest):
            return latest
        metadata = mark(self._settings) | {"definition": plan.fingerprint, "run": self._run}
        return await self._project.create_version(plan.name, plan.definition, plan.description, metadata)

    def _is_of_this_run(self, version: AgentVersion) -> bool:
        return version.metadata.get("run") == self._run

    async def _prune(self, plan: AgentPlan) -> None:
        """The service takes 1,000 versions of an agent at most."""
        ours = [each for each in await self._project.versions(plan.name) if is_ours(each.metadata, self._settings)]
        for old in ours[_KEPT_VERSIONS:]:
            await self._project.delete_version(old.name, old.version)
            self._report(f"{old.name}: removed version {old.version}")

    async def _remove_extra(self, wanted: set[str]) -> None:
        """Specialists of a scale factor that was larger."""
        for agent in await self._project.agents():
            if agent.name not in wanted and is_our_agent(agent.name, agent.metadata, self._settings):
                await delete_versions(
                    self._project, agent.name, lambda each: is_ours(each.metadata, self._settings), self._report
                )

    async def _undo(self) -> None:
        left = list(reversed(self._started))
        problems: list[str] = []
        try:
            async with asyncio.timeout(_UNDO_SECONDS):
                for name in tuple(left):
                    try:
                        await delete_versions(self._project, name, self._is_of_this_run, self._report)
                        left.remove(name)
                    except FoundryError as error:
                        problems.append(str(error))
        except TimeoutError:
            problems.append("There was no time for more.")
        finally:
            # Also at a second Ctrl-C.
            if left:
                why = " ".join(problems)
                self._report(f"Not everything could be removed ({', '.join(left)}): run delete. {why}".rstrip())
