"""The tools of Foundry's agents, made from what the core keeps open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.agent.agent import Agent
from app.composition.completion_client import completion_client
from app.composition.core import Core
from app.composition.tool_providers import ConversationTools
from app.config import Settings
from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_url import WorkspaceUrl
from app.foundry.tools.agent_answerer import ReadOnlyTools
from app.foundry.tools.foundry_tool import FoundryTool
from app.foundry.tools.job_answerer import JobServices
from app.foundry.tools.tools import FoundryToolServices, foundry_tools
from app.jobs.error_decision_engine import ErrorDecisionEngine
from app.storage.conversations import ConversationKey

if TYPE_CHECKING:
    from app.genie.provider import GenieTools
    from app.jobs.environment import WatchSettings


class OpenFoundryTools:
    """`tools` are those of FOUNDRY_TOOLS. With `watch` failed runs are explained by the model of the job watch."""

    def __init__(self, core: Core, settings: Settings, watch: WatchSettings | None = None) -> None:
        self._core = core
        self._settings = settings
        self._watch = watch
        self._genie: GenieTools | None = None
        self._jobs: JobServices | None = None
        agent = Agent(
            core.model,
            [ReadOnlyTools(provider) for provider in core.tool_providers],
            system_prompt=settings.agent.system_prompt,
            history_token_budget=0,
            max_answer_characters=settings.agent.max_answer_characters,
            logs_details=settings.telemetry.records_text or not settings.host.in_azure,
        )
        self.tools: tuple[FoundryTool, ...] = foundry_tools(
            FoundryToolServices(
                settings.foundry,
                agent,
                settings.genie,
                self._open_genie,
                core.stored_results,
                None if WorkspaceUrl.parse(core.job_workspace.url.host).is_app else self._open_jobs,
                self._forget,
            )
        )

    async def close(self) -> None:
        if self._genie is not None:
            await self._genie.close()

    def _open_genie(self) -> GenieTools:
        from app.genie.provider import GenieTools  # noqa: PLC0415

        if self._genie is None:
            core = self._core
            self._genie = GenieTools(
                self._settings.genie, core.workspace, core.storage.documents, core.stored_results()
            )
        return self._genie

    def _open_jobs(self) -> JobServices:
        if self._jobs is None:
            workspace = self._core.job_workspace
            engine = ErrorDecisionEngine(completion_client(self._core, self._watch))
            self._jobs = JobServices(JobsApi(workspace), workspace.url.host, engine)
        return self._jobs

    async def _forget(self, conversation: ConversationKey) -> None:
        for provider in (*self._core.tool_providers, self._genie):
            if isinstance(provider, ConversationTools):
                await provider.forget(conversation)
        await self._core.store.forget(conversation)
