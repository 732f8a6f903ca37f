"""Removes what is ours from a project, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

from app.foundry.agents.agent_response import ENDED
from app.foundry.agents.agent_settings import AgentProgramSettings
from app.foundry.agents.definitions import is_our_agent, is_ours, orchestrator_name, specialist_names
from app.foundry.agents.foundry_errors import FoundryError
from app.foundry.agents.orchestrator import Report
from app.foundry.agents.project_client import AgentVersion, FoundryProject, StoredItem

_Result = TypeVar("_Result")


async def delete_versions(
    project: FoundryProject, name: str, is_mine: Callable[[AgentVersion], bool], report: Report
) -> None:
    """Deletes the agent where all of its versions are mine, else those that are. Raises `FoundryError`."""
    versions = await project.versions(name)
    mine = [each for each in versions if is_mine(each)]
    if mine and len(mine) == len(versions):
        await project.delete_agent(name)
        report(f"{name}: removed")
        return
    for each in mine:
        await project.delete_version(name, each.version)
        report(f"{name}: removed version {each.version}; others stay")


class Removal:
    """A step that fails does not keep the next ones from being tried; `left` says what is still there, and why."""

    def __init__(self, project: FoundryProject, settings: AgentProgramSettings, report: Report) -> None:
        self._project = project
        self._settings = settings
        self._report = report
        self.left: list[str] = []

    async def remove_everything(self) -> None:
        """Responses that still run, the orchestrator, the specialists, then what was said."""
        agents = await self._our_agents()
        # Also of agents that a removal before this one took away.
        names = dict.fromkeys((*agents, *self._agent_names()))
        responses = [each for name in names for each in await self._our_responses(name)]
        await self._cancel(responses)
        for name in agents:
            await self._remove_agent(name)
        await self._delete_responses(responses)
        await self._delete_conversations(await self._our_conversations())

    async def remove_known(self, running: Iterable[str], responses: Iterable[str], conversation_id: str) -> None:
        """What one question has made, by its ids."""
        await self._cancel([StoredItem(each, {}, "in_progress") for each in running])
        await self._delete_responses([StoredItem(each, {}) for each in responses])
        if conversation_id:
            await self._delete_conversations([StoredItem(conversation_id, {})])

    async def remove_question(self, question_id: str) -> None:
        """What one question has left where nobody knows its ids."""
        responses = [each for name in self._agent_names() for each in await self._our_responses(name)]
        mine = [each for each in responses if each.metadata.get("question") == question_id]
        await self._cancel(mine)
        await self._delete_responses(mine)
        conversations = await self._our_conversations()
        await self._delete_conversations(
            [each for each in conversations if each.metadata.get("question") == question_id]
        )

    async def _our_agents(self) -> tuple[str, ...]:
        """The orchestrator first: it would go on delegating."""
        listed = await self._try("the agents, which could not be listed", self._project.agents) or ()
        # Somebody may have made a later version of one of ours by hand.
        ours = {each.name for each in listed if is_our_agent(each.name, each.metadata, self._settings)}
        ours |= {each.name for each in listed} & set(self._agent_names())
        return tuple(sorted(ours, key=lambda name: (name != orchestrator_name(self._settings), name)))

    def _agent_names(self) -> tuple[str, ...]:
        return (orchestrator_name(self._settings), *specialist_names(self._settings))

    async def _our_responses(self, agent_name: str) -> list[StoredItem]:
        what = f"responses of {agent_name}, which could not be listed"
        listed = await self._try(what, partial(self._project.responses, agent_name)) or ()
        return [each for each in listed if is_ours(each.metadata, self._settings)]

    async def _our_conversations(self) -> list[StoredItem]:
        listed = await self._try("conversations, which could not be listed", self._project.conversations) or ()
        return [each for each in listed if is_ours(each.metadata, self._settings)]

    async def _remove_agent(self, name: str) -> None:
        def is_mine(version: AgentVersion) -> bool:
            return is_ours(version.metadata, self._settings)

        await self._done(f"agent {name}", partial(delete_versions, self._project, name, is_mine, self._report))

    async def _cancel(self, responses: Iterable[StoredItem]) -> None:
        for each in responses:
            cancel = partial(self._project.cancel_response, each.id)
            if each.status not in ENDED and await self._done(f"response {each.id}", cancel):
                self._report(f"{each.id}: cancelled")

    async def _delete_responses(self, responses: Iterable[StoredItem]) -> None:
        for each in responses:
            await self._done(f"response {each.id}", partial(self._project.delete_response, each.id))

    async def _delete_conversations(self, conversations: Iterable[StoredItem]) -> None:
        for each in conversations:
            if await self._done(f"conversation {each.id}", partial(self._project.delete_conversation, each.id)):
                self._report(f"{each.id}: removed")

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
