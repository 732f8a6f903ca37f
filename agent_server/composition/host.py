"""Everything that the agent server serves, made of its settings and of what `create_server` was told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from fastapi import APIRouter

from agent_server.composition.access_parts import access_check
from agent_server.composition.feedback_parts import feedback_ratings
from agent_server.composition.job_watch import jobs_tab
from agent_server.composition.page_parts import page_services
from agent_server.composition.retention import Retention
from agent_server.composition.server_storage import ServerStorage, server_storage
from agent_server.databricks_agent import DatabricksAgent
from agent_server.handlers.handler import Handler
from agent_server.handlers.registry import agent as registered
from agent_server.http.access_routes import access_routes
from agent_server.http.incident_routes import incident_routes
from agent_server.http.page_routes import MAX_UPLOAD_BODY_BYTES, PageServices, page_routes
from agent_server.http.result_routes import result_routes
from agent_server.http.server_services import AgentInfo, ServerServices
from agent_server.identity.person_tokens import PersonTokens
from agent_server.identity.request_caller import SignInError, caller_of
from agent_server.identity.server_caller import ServerCaller
from agent_server.mcp.served_tools import AgentTools
from agent_server.mlflow_config import mlflow_setup, request_tracer
from agent_server.protocol.api_error import ApiError
from agent_server.protocol.task import Task
from agent_server.responses.conversation_records import ConversationRecords
from agent_server.responses.event_log import EventLog
from agent_server.responses.response_records import ResponseRecords
from agent_server.responses.response_stores import ResponseStores
from agent_server.responses.response_turns import ResponseTurns
from agent_server.responses.responses_service import ResponsesService
from agent_server.server import AgentServer
from agent_server.settings import (
    AppEnvironment,
    ServerSettings,
    load_databricks_agent_settings,
    load_server_settings,
)
from app.composition.core import Core
from app.composition.result_files import LazyResultFiles
from app.config import CoreSettings, SettingsError
from app.files.uploads import Uploads
from app.storage.conversations import ConversationKey
from app.telemetry.destination import Destination
from app.telemetry.telemetry import Telemetry
from app.turns.lease import TurnBackend
from app.turns.queue_dispatcher import QueueDispatcher
from app.turns.queue_message import TURN_KIND
from app.turns.rating_queue import RATING_KIND, RatingQueue
from app.version import VERSION, read_build, read_git_commit

QUEUE = "responses"
# Of the four seconds in which the application closes.
_FLUSH_SECONDS = 3.0
PAGE_FOLDER = Path(__file__).resolve().parents[1] / "ui" / "dist"


def build_services(server: AgentServer, environment: Mapping[str, str] = os.environ) -> ServerServices:
    """Connects to nothing yet. Raises `SettingsError` with every problem at once, and `NoHandlerError`."""
    handler = registered.handler(server.task)
    settings, agent_settings = _settings(server, environment)
    return _Host(server, handler, settings, agent_settings, environment).services()


def _settings(server: AgentServer, environment: Mapping[str, str]) -> tuple[ServerSettings, CoreSettings | None]:
    problems: dict[str, str] = {}
    settings, agent_settings = None, None
    try:
        settings = load_server_settings(environment)
    except SettingsError as error:
        problems |= {problem.partition(":")[0]: problem for problem in error.problems}
    try:
        agent_settings = load_databricks_agent_settings(environment) if server.databricks_agent else None
    except SettingsError as error:
        problems |= {problem.partition(":")[0]: problem for problem in error.problems}
    if problems or settings is None:
        raise SettingsError(list(problems.values()))
    return settings, agent_settings


class _Host:
    def __init__(
        self,
        server: AgentServer,
        handler: Handler,
        settings: ServerSettings,
        agent_settings: CoreSettings | None,
        environment: Mapping[str, str],
    ) -> None:
        self._server = server
        self._handler = handler
        self._settings = settings
        self._app = AppEnvironment.read(environment)
        self._where: ServerStorage = server_storage(settings, environment)
        storage, retention_days = self._where.storage, settings.storage.retention_days
        self._core = Core(agent_settings, storage=storage, queue_name=QUEUE) if agent_settings is not None else None
        self._telemetry = self._core.telemetry if self._core else _telemetry(self._app)
        self._queue = storage.open_queue(QUEUE)
        self._retention = Retention(storage, retention_days)
        self._jobs = jobs_tab(settings.jobs_tab, environment, storage)
        self._uploads = Uploads(storage.artifacts)
        self._agent = DatabricksAgent(self._core.agent, self._uploads) if self._core else None
        self._tokens = PersonTokens()
        self._tracer = request_tracer()
        self._ratings = feedback_ratings(self._core, storage.documents, self._app, retention_days, environment)
        self._rating_queue = RatingQueue(self._ratings, self._queue)
        self._stores = ResponseStores(
            storage.conversations,
            ResponseRecords(storage.documents, storage.artifacts, retention_days=retention_days),
            ConversationRecords(storage.documents, retention_days=retention_days),
            EventLog(storage.documents, storage.artifacts, retention_days=retention_days),
        )
        self._turns = ResponseTurns(
            handler,
            server.task,
            self._stores,
            TurnBackend(
                storage.conversations,
                self._queue,
                storage.artifacts,
                settings.turns.lease_seconds,
                feedback_targets=lambda: self._ratings().targets,
            ),
            self._tokens,
            time_limit_seconds=settings.turns.timeout_seconds,
            agent=self._agent,
            tracer=self._tracer,
        )
        dispatcher = QueueDispatcher(self._telemetry)
        dispatcher.register(TURN_KIND, self._turns.handle)
        dispatcher.register(RATING_KIND, self._rating_queue.deliver)
        self._dispatcher = dispatcher
        self._responses = ResponsesService(
            self._stores,
            self._turns,
            self._queue,
            dispatcher.dispatch,
            self._uploads,
            forget=self._forget,
            max_concurrent=settings.server.max_concurrent_answers,
        )

    def services(self) -> ServerServices:
        keeps = self._server.task is Task.RESPONSES
        image_hosts = tuple(sorted(self._settings.server.image_hosts))
        page = page_services(
            stores=self._stores,
            responses=self._responses,
            uploads=self._uploads,
            ratings=self._ratings,
            rating_queue=self._rating_queue,
            storage=self._where.kind,
            core=self._core,
            image_hosts=image_hosts,
            # Where no agent asks Databricks, nobody misses it.
            shows_jobs=self._core is not None or not self._jobs.missing,
        )
        return ServerServices(
            server=self._server,
            handler=self._handler,
            settings=self._settings,
            app=self._app,
            identify=self._identify,
            responses=self._responses if keeps else None,
            agent=self._agent,
            tracer=self._tracer,
            tools=AgentTools(self._core.agent.tools_for) if self._core else None,
            info=_info(self._core, self._app, self._where),
            readiness=self._readiness(),
            routers=(*self._access_routes(), *(self._page_routes(page) if keeps else ())),
            page_folder=PAGE_FOLDER,
            image_hosts=image_hosts,
            max_upload_bytes=MAX_UPLOAD_BODY_BYTES,
            start=self._start,
            hand_over=self._hand_over,
            close=self._close,
        )

    def _page_routes(self, page: PageServices) -> tuple[APIRouter, ...]:
        routes = [page_routes(page, self._identify), incident_routes(self._jobs.incidents, self._identify)]
        if self._core is not None:
            files = LazyResultFiles(self._where.storage.artifacts, self._core.workspace)
            routes.append(result_routes(files, self._identify))
        return tuple(routes)

    def _access_routes(self) -> tuple[APIRouter, ...]:
        if self._core is None:
            return ()
        return (access_routes(access_check(self._core, self._settings, self._where), self._identify),)

    def _identify(self, headers: Mapping[str, str]) -> ServerCaller:
        try:
            caller = caller_of(headers, self._settings.server, self._app)
        except SignInError as error:
            raise ApiError(401, str(error), type="authentication_error", code="sign_in_required") from None
        self._tokens.remember(caller)
        return caller

    def _readiness(self) -> dict[str, Callable[[], Awaitable[None]]]:
        checks: dict[str, Callable[[], Awaitable[None]]] = {
            "storage": self._where.storage.conversations.ping,
            "queue": self._queue.ping,
        }
        if self._core is not None:
            checks["model"] = self._check_model
        return checks

    async def _check_model(self) -> None:
        assert self._core is not None
        await self._core.model.check_ready()

    async def _start(self) -> None:
        self._responses.start()
        self._retention.start()
        self._jobs.start()

    async def _hand_over(self) -> None:
        await asyncio.gather(self._responses.close(), self._jobs.close())

    async def _forget(self, key: ConversationKey) -> None:
        if self._core is not None:
            await self._core.forget(key)
        else:
            await self._where.storage.conversations.forget(key)

    async def _close(self) -> None:
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._where.close)
            if self._core is not None:
                # It closes the storage too.
                closing.push_async_callback(self._core.close)
            else:
                closing.push_async_callback(self._where.storage.close)
                closing.push_async_callback(self._telemetry.close)
            closing.push_async_callback(self._queue.close)
            closing.push_async_callback(self._dispatcher.close)
            closing.push_async_callback(self._retention.close)
            if (setup := mlflow_setup()) is not None:
                closing.push_async_callback(asyncio.to_thread, setup.flush, _FLUSH_SECONDS)


def _info(core: Core | None, app: AppEnvironment, where: ServerStorage) -> AgentInfo:
    # Models that have the agent as a tool read this too.
    description = "Answers questions about the data in this Databricks workspace, asked in plain words." if core else ""
    return AgentInfo(
        name=app.name or "agent",
        description=description,
        version=f"{VERSION}+{read_build()}",
        git_commit=read_git_commit(),
        storage=where.kind,
    )


def _telemetry(app: AppEnvironment) -> Telemetry:
    destination = Destination(
        service=app.name or "agent-server",
        version=f"{VERSION}+{read_build()}",
        instance=app.name,
        connection_string=None,
        by_identity=False,
        client_id=None,
    )
    return Telemetry(destination, records_text=False)
