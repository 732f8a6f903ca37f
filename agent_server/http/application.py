"""The HTTP application: every route, behind one frame."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from agent_server.http.answer_routes import PREFIXES, answer_routes
from agent_server.http.error_answers import error_answer, of_status, unexpected
from agent_server.http.event_stream import ClientLeftError
from agent_server.http.mcp_routes import mcp_endpoint, mcp_routes
from agent_server.http.metrics import Metrics
from agent_server.http.open_answers import OpenAnswers
from agent_server.http.operations_routes import operations_routes
from agent_server.http.page_files import PageFiles
from agent_server.http.request_frame import RequestFrame
from agent_server.http.security_headers import security_headers
from agent_server.http.server_services import ServerServices
from agent_server.http.stored_routes import stored_routes
from agent_server.identity.request_caller import SignInError
from agent_server.protocol.api_error import ApiError
from app.storage.storage_errors import StorageError

_log = logging.getLogger(__name__)

# Databricks Apps kills the process 15 s after SIGTERM. With a second for connections these add up to 12.5 s.
FINISH_SECONDS = 3.0
_HAND_OVER_SECONDS = 4.0
_END_SECONDS = 0.5
_CLOSE_SECONDS = 4.0

_UPLOAD_ROUTES = tuple(f"{prefix}/files" for prefix in PREFIXES)


class Application:
    """An ASGI application. `stop` is awaited once, before its lifespan ends."""

    def __init__(self, services: ServerServices) -> None:
        self._services = services
        self._answers = OpenAnswers(services.settings.server.max_concurrent_answers)
        metrics = Metrics(lambda: len(self._answers))
        self._mcp = mcp_endpoint(services, self._answers)
        routers = [
            answer_routes(services, self._answers),
            stored_routes(services, self._answers),
            operations_routes(services, self._answers, metrics),
            *services.routers,
        ]
        mcp = mcp_routes(self._mcp, services, self._answers)
        self._frame = RequestFrame(
            _fastapi(routers, mcp, services.page_folder, self._lifespan),
            metrics,
            in_app=services.app.in_app,
            max_body_bytes=services.settings.server.max_body_bytes,
            upload_bytes=dict.fromkeys(_UPLOAD_ROUTES, services.max_upload_bytes) if services.max_upload_bytes else {},
            headers=security_headers(services.image_hosts),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._frame(scope, receive, send)

    async def stop(self, *, finish_seconds: float = FINISH_SECONDS) -> None:
        """Refuses new requests, and lets the running ones end; what still runs then is handed over or interrupted."""
        await self._answers.stop(grace_seconds=finish_seconds)
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                await self._services.hand_over()
        except Exception:
            _log.exception("Running answers could not be handed over; other instances go on when their leases end")
        await self._answers.end_all(grace_seconds=_END_SECONDS)

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncGenerator[None, None]:
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._close)
            await self._services.start()
            closing.push_async_callback(self._mcp.close)
            yield

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._services.close()
        except Exception:
            _log.exception("The server did not close cleanly")


_Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def _fastapi(
    routers: Sequence[APIRouter], routes: Sequence[BaseRoute], page_folder: Path | None, lifespan: _Lifespan
) -> FastAPI:
    # Its pages of documentation load scripts from elsewhere. Traces are MLflow's, metrics are at /metrics.
    telemetry: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
    api = FastAPI(openapi_url=None, redirect_slashes=False, lifespan=lifespan, telemetry=telemetry)
    for router in routers:
        api.include_router(router)
    api.router.routes.extend(routes)
    api.router.default = PageFiles(page_folder)

    @api.exception_handler(ApiError)
    async def _refused(_: Request, error: ApiError) -> Response:
        return error_answer(error)

    @api.exception_handler(SignInError)
    async def _not_signed_in(_: Request, error: SignInError) -> Response:
        return error_answer(ApiError(401, str(error), type="authentication_error", code="sign_in_needed"))

    @api.exception_handler(StorageError)
    async def _not_stored(_: Request, error: StorageError) -> Response:
        _log.warning("A request failed for want of storage: %s", type(error).__name__, exc_info=error)
        sentence = "What is kept here cannot be read or written at the moment. Try again in a moment."
        return error_answer(ApiError(503, sentence, type="server_error", code="storage_unavailable", retryable=True))

    @api.exception_handler(HTTPException)
    async def _of_router(request: Request, error: HTTPException) -> Response:
        return error_answer(of_status(error, request.method))

    @api.exception_handler(RequestValidationError)
    async def _not_valid(_: Request, error: RequestValidationError) -> Response:
        name = next((str(part) for detail in error.errors() for part in detail["loc"][-1:]), None)
        return error_answer(ApiError(400, f"{name or 'The request'} is missing or not valid.", param=name))

    @api.exception_handler(ClientLeftError)
    async def _left(_: Request, __: ClientLeftError) -> Response:
        # Nobody reads it; the log and the metrics do.
        return Response(status_code=499)

    @api.exception_handler(Exception)
    async def _failed(_: Request, error: Exception) -> Response:
        return error_answer(unexpected(error, "A request"))

    return api
