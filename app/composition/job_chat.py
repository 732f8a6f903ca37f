"""Chats that watch jobs, imported with their first use."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from app.agent.events import Answer
from app.agent.turn import Turn
from app.common.caller import Caller
from app.databricks.workspace_client import WorkspaceClient
from app.messaging.actions import ActionAnswer, ActionHandler, CardAction
from app.messaging.conversation_members import ConversationMember, ConversationMembers
from app.messaging.conversation_references import ConversationReferences
from app.messaging.job_messages import JOB_NOTICE_KIND, JOB_VERBS
from app.storage.conversations import ConversationKey
from app.storage.documents import DocumentStore
from app.storage.queue import Queue
from app.tools.base import AnyTool
from app.tools.registry import ToolProvider
from app.translation import Sentence

if TYPE_CHECKING:
    from app.bot.bot_app import BotApp
    from app.bot.job_notices import JobNotices
    from app.databricks.jobs_api import JobsApi
    from app.jobs.chat.incident_actions import CarryOut, IncidentActions
    from app.jobs.chat.incident_threads import IncidentThreads
    from app.jobs.chat.job_command import JobAnswer, JobCommand, JobRequest
    from app.jobs.chat.job_notice import ChatNotifier
    from app.jobs.chat.job_tools import JobTools
    from app.jobs.chat.job_viewers import JobViewers
    from app.jobs.chat.watches import Watches
    from app.jobs.history.decision_records import DecisionRecords
    from app.jobs.incidents.incident_store import IncidentStore
    from app.jobs.job_policy import PolicyOf

HELP: Final = Sentence("""\
About jobs:

- **/watch** and the name of a job – I will post here when it fails
- **/unwatch** – stop watching it
- **/jobs** – what this chat watches, and what has failed""")


@dataclass(frozen=True, slots=True)
class JobWatchParts:
    """What chats need of the job watch. `workspace` names the workspace in the store. `carry_out` begins an approved
    retry.
    """

    workspace: str
    policy_of: PolicyOf
    carry_out: CarryOut


class JobChat:
    """`parts` is called with the first use. `clock` is in seconds since 1970."""

    def __init__(
        self,
        documents: DocumentStore,
        references: ConversationReferences,
        queue: Queue,
        client: WorkspaceClient,
        parts: Callable[[], JobWatchParts],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._documents = documents
        self._references = references
        self._queue = queue
        self._client = client
        self._load_parts = parts
        self._clock = clock
        self._bot: BotApp | None = None

    @property
    def commands(self) -> Mapping[str, Callable[[Turn, str], Awaitable[Answer]]]:
        return {"/watch": self._watch, "/unwatch": self._unwatch, "/jobs": self._jobs}

    @property
    def action_handlers(self) -> Sequence[ActionHandler]:
        return [_IncidentAction(verb, self) for verb in JOB_VERBS]

    def attach(self, bot: BotApp) -> None:
        """The bot knows who is in a conversation, and brings notices to it."""
        self._bot = bot
        bot.queue.register(JOB_NOTICE_KIND, self._deliver)

    @property
    def tool_provider(self) -> ToolProvider:
        return _JobToolProvider(self)

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return await self._tools.tools(caller)

    async def forget(self, conversation: ConversationKey, *, threads: bool = False) -> None:
        """Ends the watches of a chat; those of a channel stay where one of its threads is forgotten. Raises
        `StorageError`.
        """
        if threads or not conversation.thread:
            await self._watches.forget(conversation)
            await self._threads.forget(conversation)

    async def accept(self, action: CardAction) -> ActionAnswer:
        return await self._actions.accept(action)

    async def run(self, action: CardAction) -> None:
        await self._actions.run(action)

    async def _deliver(self, body: bytes) -> None:
        await self._notices.deliver(body)

    async def _watch(self, turn: Turn, words: str) -> Answer:
        return _answer(await self._command.watch(_request(turn, words)))

    async def _unwatch(self, turn: Turn, words: str) -> Answer:
        return _answer(await self._command.unwatch(_request(turn, words)))

    async def _jobs(self, turn: Turn, words: str) -> Answer:
        return _answer(await self._command.jobs(_request(turn, words)))

    @cached_property
    def _parts(self) -> JobWatchParts:
        return self._load_parts()

    @cached_property
    def _members(self) -> ConversationMembers:
        if self._bot is None:
            return _NoMembers()
        from app.bot.conversation_members import ChannelMembers  # noqa: PLC0415

        return ChannelMembers(self._bot.connector, self._references)

    @cached_property
    def _api(self) -> JobsApi:
        from app.databricks.jobs_api import JobsApi  # noqa: PLC0415

        return JobsApi(self._client)

    @cached_property
    def _incidents(self) -> IncidentStore:
        from app.jobs.incidents.incident_store import IncidentStore  # noqa: PLC0415

        return IncidentStore(self._documents, workspace=self._parts.workspace)

    @cached_property
    def _records(self) -> DecisionRecords:
        from app.jobs.history.decision_records import DecisionRecords  # noqa: PLC0415

        return DecisionRecords(self._documents, workspace=self._parts.workspace)

    @cached_property
    def _watches(self) -> Watches:
        from app.jobs.chat.watches import Watches  # noqa: PLC0415

        return Watches(self._documents, workspace=self._parts.workspace)

    @cached_property
    def _threads(self) -> IncidentThreads:
        from app.jobs.chat.incident_threads import IncidentThreads  # noqa: PLC0415

        return IncidentThreads(self._documents)

    @cached_property
    def _notifier(self) -> ChatNotifier:
        from app.jobs.chat.job_notice import ChatNotifier  # noqa: PLC0415

        return ChatNotifier(self._queue)

    @cached_property
    def _viewers(self) -> JobViewers:
        from app.databricks.workspace_users import WorkspaceUsers  # noqa: PLC0415
        from app.jobs.chat.job_viewers import JobViewers  # noqa: PLC0415

        return JobViewers(self._api, WorkspaceUsers(self._client), self._members, self._parts.policy_of)

    @cached_property
    def _command(self) -> JobCommand:
        from app.jobs.chat.job_command import JobCommand  # noqa: PLC0415

        return JobCommand(self._api, self._watches, self._incidents, self._viewers, self._references, self._notifier)

    @cached_property
    def _actions(self) -> IncidentActions:
        from app.jobs.chat.incident_actions import IncidentActions  # noqa: PLC0415

        return IncidentActions(
            self._incidents,
            self._records,
            self._parts.policy_of,
            self._notifier,
            self._parts.carry_out,
            clock=self._clock,
        )

    @cached_property
    def _tools(self) -> JobTools:
        from app.jobs.chat.job_tools import JobTools  # noqa: PLC0415

        return JobTools(
            self._incidents,
            self._records,
            self._threads,
            self._viewers,
            self._parts.policy_of,
            self._notifier,
            clock=self._clock,
        )

    @cached_property
    def _notices(self) -> JobNotices:
        from app.bot.job_notices import JobNotices  # noqa: PLC0415

        if self._bot is None:
            raise RuntimeError("notices come to a bot alone")
        return JobNotices(
            self._bot.adapter,
            self._bot.actions,
            self._references,
            self._members,
            self._incidents,
            self._watches,
            self._threads,
            self._notifier,
            self._parts.policy_of,
        )


class _NoMembers:
    """A `ConversationMembers` where there is no bot to ask."""

    async def find(self, conversation: ConversationKey, caller: Caller) -> ConversationMember | None:
        return None

    async def find_by_entra_id(self, conversation: ConversationKey, entra_object_id: str) -> ConversationMember | None:
        return None


class _JobToolProvider:
    """An `app.tools.registry.ToolProvider`."""

    def __init__(self, chat: JobChat) -> None:
        self.tools = chat.tools


class _IncidentAction:
    """An `app.messaging.actions.ActionHandler`."""

    def __init__(self, verb: str, chat: JobChat) -> None:
        self.verb = verb
        self.accept = chat.accept
        self.run = chat.run


def _request(turn: Turn, words: str) -> JobRequest:
    from app.jobs.chat.job_command import JobRequest  # noqa: PLC0415

    return JobRequest(turn.conversation, turn.caller, turn.locale, words)


def _answer(said: JobAnswer) -> Answer:
    return Answer(said.text, by_model=False, blocks=said.blocks)
