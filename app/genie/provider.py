"""The tools of Genie: one for each space."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from pydantic import ValidationError

from app.common.caller import Caller
from app.common.json_values import items, mapping, text
from app.data.stored_results import StoredResults
from app.databricks.genie_agents_api import GenieAgentsApi
from app.databricks.genie_api import GenieApi
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_errors import WorkspaceError
from app.databricks.workspace_url import WorkspaceUrl
from app.genie.genie_conversations import GenieConversations
from app.genie.genie_results import GenieReruns
from app.genie.genie_sentences import workspace_sentence
from app.genie.genie_tool import GenieArguments, GenieQuestion, GenieServices
from app.genie.known_questions import KnownQuestions
from app.genie.question_quota import QuestionQuota
from app.settings.genie_settings import MAX_SPACES, GenieSettings, GenieSpace
from app.storage.conversations import ConversationKey
from app.storage.documents import DocumentStore
from app.tools.base import SEEN_AS_TABLE, AnyTool, Effect, Tool, ToolContext, ToolOutput, UnavailableTools
from app.translation import Sentence

_log = logging.getLogger(__name__)

_NAME = "Genie"
_TITLE = Sentence("Asking Genie")
_MAX_DESCRIPTION = 1_000
_LOOKED_UP_FOR_SECONDS = 600.0
_MAX_PAGES = 5
_NOT_IN_A_NAME = re.compile(r"\W+", re.ASCII)


class GenieTools:
    """A `app.tools.registry.ToolProvider`. `sql_capability`: see `app.genie.agent_mode.AgentQuestion`."""

    def __init__(
        self,
        settings: GenieSettings,
        workspace: WorkspaceClient,
        documents: DocumentStore,
        results: StoredResults,
        *,
        sql_capability: str = "",
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._elsewhere: WorkspaceClient | None = None
        if settings.base_url:
            self._elsewhere = WorkspaceClient(WorkspaceUrl.parse(settings.base_url), workspace.credential)
        self._api = GenieApi(self._elsewhere or workspace, workspace)
        known = KnownQuestions(documents, settings.repeat_seconds, clock=clock)
        quota = QuestionQuota(documents, settings.questions_per_minute, sleep=sleep, clock=clock)
        self._conversations = GenieConversations(documents, known)
        self._services = GenieServices(
            self._api, self._conversations, known, quota, results, workspace.url.host, sleep, clock
        )
        self.reruns = GenieReruns(self._api, sleep)
        self._clock = clock
        self._agents = GenieAgentsApi(self._elsewhere or workspace)
        self._sql_capability = sql_capability
        self._has_no_agent_mode_until = 0.0
        self._listed: tuple[GenieSpace, ...] = ()
        self._listed_until = 0.0

    async def tools(self, caller: Caller) -> Sequence[AnyTool | UnavailableTools]:
        try:
            spaces = await self.spaces()
        except WorkspaceError as error:
            return [UnavailableTools(_NAME, workspace_sentence(error))]
        return [self._tool(space, name) for name, space in spaces.items()]

    async def spaces(self) -> Mapping[str, GenieSpace]:
        """By the names of their tools. Raises `WorkspaceError`."""
        spaces = await self._all_spaces() if self._settings.uses_all_spaces else self._settings.spaces
        return dict(zip(tool_names(spaces), spaces, strict=True))

    async def close(self) -> None:
        if self._elsewhere is not None:
            # The credential is the workspace's own.
            await self._elsewhere.http.close()

    async def forget(self, conversation: ConversationKey, *, threads: bool = False) -> None:
        """Raises `StorageError`."""
        await self._conversations.forget(conversation, self._api, threads=threads)

    def _tool(self, space: GenieSpace, name: str) -> AnyTool:
        about = f" The data: {space.alias or space.id}. {space.description}"[:_MAX_DESCRIPTION]
        description = (
            "Asks a Databricks Genie space a question about data"
            f"{SEEN_AS_TABLE}. Use it for every question about figures in this data, also for follow-ups.{about}"
        )

        async def run(arguments: GenieArguments, context: ToolContext) -> ToolOutput:
            return await self._answer(space.id, arguments, context)

        seconds = self._settings.timeout_seconds
        return Tool(name, description, GenieArguments, run, Effect.READ_ONLY, seconds, title=_TITLE)

    async def _answer(self, space: str, arguments: GenieArguments, context: ToolContext) -> ToolOutput:
        now = self._clock()
        if self._settings.agent_mode and now >= self._has_no_agent_mode_until:
            from app.genie.agent_mode import AgentModeMissingError, AgentQuestion  # noqa: PLC0415

            question = AgentQuestion(self._services, self._agents, space, context, self._sql_capability)
            try:
                return await question.answer(arguments)
            except AgentModeMissingError:
                _log.warning("The workspace has no agent mode of Genie; GENIE_AGENT_MODE has no effect")
                self._has_no_agent_mode_until = now + _LOOKED_UP_FOR_SECONDS
        return await GenieQuestion(self._services, space, context).answer(arguments)

    async def _all_spaces(self) -> tuple[GenieSpace, ...]:
        """Those that the identity may see, looked up every ten minutes."""
        now = self._clock()
        if now < self._listed_until:
            return self._listed
        try:
            self._listed = await self._list_spaces()
            self._listed_until = now + _LOOKED_UP_FOR_SECONDS
        except WorkspaceError as error:
            _log.warning("The Genie spaces could not be listed (%s)", type(error).__name__)
            if not self._listed:
                raise
        return self._listed

    async def _list_spaces(self) -> tuple[GenieSpace, ...]:
        found: list[GenieSpace] = []
        token = ""
        for _ in range(_MAX_PAGES):
            page = await self._api.list_spaces(token)
            for each in map(mapping, items(page.get("spaces"))):
                title, description = text(each.get("title")), text(each.get("description"))
                with suppress(ValidationError):
                    space = {"alias": title[:200], "description": description[:_MAX_DESCRIPTION]}
                    found.append(GenieSpace.model_validate({"id": each.get("space_id"), **space}))
            token = text(page.get("next_page_token"))
            if not token or len(found) >= MAX_SPACES:
                break
        return tuple(found[:MAX_SPACES])


def tool_names(spaces: Sequence[GenieSpace]) -> list[str]:
    """Unique, and the same for the same space as long as its alias and id stay: titles are not unique."""
    names = [f"genie_{_name_of(space)}" for space in spaces]
    return [
        name if names.count(name) == 1 and name != "genie_" else f"{name.rstrip('_')}_{space.id[-12:]}"
        for name, space in zip(names, spaces, strict=True)
    ]


def _name_of(space: GenieSpace) -> str:
    return _NOT_IN_A_NAME.sub("_", (space.alias or space.id).lower()).strip("_")[:40]
