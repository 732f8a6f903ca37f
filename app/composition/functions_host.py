"""What Azure Functions hosts: the core, the bot in front of it, and health. `function_app.py` calls its methods."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from importlib import import_module
from typing import TYPE_CHECKING, cast

from app.bot.auth.bot_identity import BotIdentity
from app.bot.bot_app import build_bot
from app.bot.channel import DisplaySettings, SensitivityLabel
from app.composition.core import Core
from app.composition.job_chat import JobWatchParts
from app.composition.result_files import LazyResultFiles
from app.composition.sigterm import SigtermHandler
from app.config import Settings, SettingsError, is_job_watch_on, load_settings
from app.health.dependency_checks import Check, DependencyChecks
from app.health.health import Health
from app.health.unconfigured import Unconfigured
from app.http import HttpAnswer
from app.storage.queue_encoding import text_of
from app.telemetry.turn_span import traced
from app.turns.queue_dispatcher import QueueDispatcher, ShuttingDownError

if TYPE_CHECKING:
    from app.composition.foundry import FoundryHost
    from app.composition.job_triggers import JobPasses, JobTriggers
    from app.jobs.environment import WatchSettings

_log = logging.getLogger(__name__)


def start() -> FunctionsHost | Unconfigured:
    """Raises `app.config.SettingsError` on a developer's machine; in Azure the app starts to report it.

    Core Tools and `app.local` set AZURE_FUNCTIONS_ENVIRONMENT to Development.
    """
    try:
        return FunctionsHost(*_load_all_settings())
    except SettingsError as error:
        if os.environ.get("AZURE_FUNCTIONS_ENVIRONMENT") == "Development":
            raise
        return Unconfigured(error)


def _load_all_settings() -> tuple[Settings, WatchSettings | None]:
    """Raises `SettingsError` with the problems of both."""
    if not is_job_watch_on():
        return load_settings(), None
    from app.jobs.environment import load_watch_settings  # noqa: PLC0415 - only where jobs are watched

    try:
        watch = load_watch_settings(os.environ)
    except SettingsError as error:
        try:
            load_settings()
        except SettingsError as others:
            named = {_setting(problem) for problem in others.problems}
            more = [problem for problem in error.problems if _setting(problem) not in named]
            raise SettingsError([*others.problems, *more]) from None
        raise
    return load_settings(), watch


def _setting(problem: str) -> str:
    return problem.partition(":")[0]


class FunctionsHost:
    """With `watch` jobs are watched: `job_triggers` says when."""

    def __init__(self, settings: Settings, watch: WatchSettings | None = None) -> None:
        self.core = core = Core(
            settings,
            managed_identity_client_id=settings.bot.app_id,
            # Without an app id the bot talks to this machine alone.
            allows_loopback_files=not settings.bot.app_id,
            job_watch=(lambda: self._job_watch_parts(watch)) if watch is not None else None,
            job_workspace_url=watch.workspace_url if watch is not None else "",
        )
        self.dispatcher = QueueDispatcher(core.telemetry)
        self.bot = build_bot(
            _bot_identity(settings),
            core.turns,
            core,
            core.storage.documents,
            core.references,
            core.telemetry,
            work_queue=core.queue,
            dispatcher=self.dispatcher,
            result_files=LazyResultFiles(core.storage.artifacts, core.workspace),
            ratings=core.ratings,
            display=_display(settings),
            action_handlers=core.job_chat.action_handlers if core.job_chat else (),
        )
        if core.job_chat is not None:
            core.job_chat.attach(self.bot)
        self.job_triggers = self._job_triggers(watch) if watch is not None else None
        self.health = Health(
            DependencyChecks(
                {
                    "model": core.model.check_ready,
                    "storage": core.store.ping,
                    "queue": core.queue.ping,
                    "tools": self._measured(core.check_tools),
                    "foundry": self._measured(self._check_foundry),
                    "telemetry": core.telemetry.check,
                }
            )
        )
        self._sigterm = SigtermHandler(self.close)
        self._settings = settings
        self._watch = watch
        self._foundry: FoundryHost | None = None
        self._opening_foundry = asyncio.Lock()
        self._closed = False
        self._in_azure = settings.host.in_azure
        self._invoked = False

    async def receive_activity(
        self, method: str, headers: Mapping[str, str], body: bytes, traceparent: str | None = None
    ) -> HttpAnswer:
        """`POST /api/messages`."""
        self._on_invocation()
        return await self.bot.messages.receive(method, headers, body, traceparent=traceparent)

    async def process_queue_message(self, content: bytes, traceparent: str | None = None) -> None:
        """A message on the queue `turns`, of any kind, as it is stored. Raises what makes the host deliver it again."""
        self._on_invocation()
        await self.dispatcher.dispatch(text_of(content.decode(errors="replace")).encode(), traceparent)

    @property
    def foundry_queues(self) -> Mapping[str, str]:
        """<name> in `azure-function-<name>-input` of each tool that Foundry's agents may call."""
        return self._settings.foundry.queue_names

    async def receive_foundry_request(
        self, tool: str, content: bytes, id: str, inserted_at: float, traceparent: str | None = None
    ) -> None:
        """A message of a tool's input queue. Raises what makes the host deliver it again."""
        from app.foundry.requests.tool_message import QueuedMessage  # noqa: PLC0415

        foundry = await self._foundry_host()
        await foundry.receive(tool, QueuedMessage(content, id, inserted_at, traceparent))

    async def receive_poisoned_foundry_request(
        self, tool: str, content: bytes, id: str, inserted_at: float, traceparent: str | None = None
    ) -> None:
        """The same for the poison queue, to which such a message never goes again."""
        from app.foundry.requests.tool_message import QueuedMessage  # noqa: PLC0415

        foundry = await self._foundry_host()
        await foundry.receive_poison(tool, QueuedMessage(content, id, inserted_at, traceparent))

    async def process_foundry_message(self, content: bytes, traceparent: str | None = None) -> None:
        """A message of the queue `foundry-requests`, as it is stored. Raises as `receive_foundry_request`."""
        foundry = await self._foundry_host()
        await foundry.process_message(text_of(content.decode(errors="replace")).encode(), traceparent)

    async def process_poisoned_foundry_message(self, content: bytes, id: str, traceparent: str | None = None) -> None:
        """The same for its poison queue, where the host delivers a message that fails ten minutes later."""
        foundry = await self._foundry_host()
        await foundry.process_poison(text_of(content.decode(errors="replace")).encode(), id, traceparent)

    @property
    def takes_mcp_tokens(self) -> bool:
        return bool(self._settings.foundry_mcp.audience)

    async def receive_mcp(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes,
        traceparent: str | None = None,
        *,
        by_token: bool = False,
    ) -> HttpAnswer:
        """`POST /api/mcp`, of a caller whose function key the host has checked; `by_token`, `POST /api/mcp/entra`."""
        try:
            foundry = await self._foundry_host()
        except ShuttingDownError:
            return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, "This worker ends. Call again.")
        receive = foundry.mcp.receive_with_token if by_token else foundry.mcp.receive
        return await receive(method, headers, body, traceparent)

    async def delete_expired(self) -> int:
        """Deletes what is older than the retention, and returns the number of rows. Raises `StorageError`."""
        return await self.core.delete_expired()

    async def ask_scheduled_questions(self) -> int:
        """Puts on the queue what is due, and returns how many questions. Raises `StorageError`."""
        from app.bot.scheduled_questions import ScheduledQuestions  # noqa: PLC0415

        core = self.core
        return await ScheduledQuestions(core.schedules.store, core.references, core.queue).ask_due()

    def install_sigterm_handler(self) -> None:
        """On the running event loop: at SIGTERM running turns are handed over before the process ends."""
        self._sigterm.install()

    async def close(self) -> None:
        """Lets running turns end or hands them over, then closes everything."""
        self._closed = True
        async with AsyncExitStack() as closing:
            # They are closed in reverse, each even where another fails: people's turns are handed over first.
            for part in (self.core, self._foundry, self.bot, self.health):
                if part is None:
                    continue
                closing.push_async_callback(part.close)

    def _measured(self, check: Check) -> Check:
        """A check may close a circuit breaker, which is counted; it leaves no span."""

        async def measured() -> bool | None:
            with traced(self.core.telemetry.activity("health")) as span:
                try:
                    return await check()
                finally:
                    span.discard()

        return measured

    async def _check_foundry(self) -> bool:
        """False until the first message of Foundry's agents has come."""
        if self._foundry is None:
            return False
        await self._foundry.check()
        return True

    async def _foundry_host(self) -> FoundryHost:
        """Made with the first message of Foundry's agents: no answer to a person needs it."""
        self._on_invocation()
        async with self._opening_foundry:
            if self._foundry is None:
                module = await asyncio.to_thread(import_module, "app.composition.foundry")
                if self._closed:
                    raise ShuttingDownError
                self._foundry = cast("FoundryHost", module.FoundryHost(self.core, self._settings, self._watch))
            return self._foundry

    def _job_triggers(self, watch: WatchSettings) -> JobTriggers:
        from app.composition.job_triggers import JobTriggers  # noqa: PLC0415

        def passes() -> JobPasses:
            from app.composition.job_watch import FunctionsJobWatch  # noqa: PLC0415

            return FunctionsJobWatch(self.core, watch)

        triggers = JobTriggers(watch.job_watch, passes, self.core.queue, self.core.telemetry)
        triggers.register(self.dispatcher)
        return triggers

    def _job_watch_parts(self, watch: WatchSettings) -> JobWatchParts:
        from app.jobs.policies import JobPolicies  # noqa: PLC0415

        policy_of = JobPolicies.from_settings(watch.job_watch).of
        return JobWatchParts(watch.workspace_url, policy_of, self._begin_retry)

    async def _begin_retry(self, incident_id: str) -> None:
        if self.job_triggers is not None:
            await self.job_triggers.begin_retry(incident_id)

    def _on_invocation(self) -> None:
        """An invocation has the event loop for signals; what is logged outside of one is dropped by the host."""
        if self._invoked:
            return
        self._invoked = True
        _log.info("Databricks credential: %s", self.core.workspace.credential.name)
        # Hosts on a developer's machine call `close` themselves.
        if self._in_azure:
            self.install_sigterm_handler()


def _bot_identity(settings: Settings) -> BotIdentity:
    bot = settings.bot
    return BotIdentity(
        app_id=bot.app_id,
        app_type=bot.app_type,
        tenant_id=bot.tenant_id,
        password=bot.password,
        cloud=bot.cloud,
        channels=bot.channels,
        accepts_emulator=settings.accepts_emulator,
    )


def _display(settings: Settings) -> DisplaySettings:
    bot = settings.bot
    label = SensitivityLabel(
        bot.sensitivity_label_name, bot.sensitivity_label_description, bot.sensitivity_label_id or ""
    )
    return DisplaySettings(bot.image_hosts, label if label.name else None)
