"""What the stand-in's APIs have in common: requests as JSON, and refusals in the format of Databricks."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from aiohttp import web

MAX_BODY_BYTES = 4 * 1024 * 1024


class ApiPart(Protocol):
    """One API of the stand-in workspace."""

    def routes(self) -> Sequence[web.RouteDef]: ...


class RefusedRequestError(Exception):
    """Answered with `status`, `code` and the message, as Databricks does."""

    def __init__(self, status: int, code: str, message: str, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_seconds = retry_after_seconds


def invalid_parameter(message: str) -> RefusedRequestError:
    return RefusedRequestError(400, "INVALID_PARAMETER_VALUE", message)


def api_application(token: str, parts: Sequence[ApiPart]) -> web.Application:
    """`parts` behind one access token."""
    application = web.Application(middlewares=[_authenticated(token)], client_max_size=MAX_BODY_BYTES)
    for part in parts:
        application.router.add_routes(part.routes())
    return application


def refusal(status: int, code: str, message: str, retry_after_seconds: int | None = None) -> web.Response:
    headers = {} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)}
    return web.json_response({"error_code": code, "message": message}, status=status, headers=headers)


async def json_of(request: web.Request) -> dict[str, Any]:
    """Raises `RefusedRequestError` where the body is no JSON object."""
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusedRequestError(400, "MALFORMED_REQUEST", "The body must be a JSON object.")
    return body


def _authenticated(token: str) -> Any:  # noqa: ANN401 - aiohttp's type of a middleware
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected):
            return refusal(401, "UNAUTHENTICATED", "The request needs the access token of this workspace.")
        try:
            return await handler(request)
        except RefusedRequestError as error:
            return refusal(error.status, error.code, str(error), error.retry_after_seconds)
        except web.HTTPException as error:
            code = "ENDPOINT_NOT_FOUND" if error.status == 404 else "BAD_REQUEST"
            return refusal(error.status, code, error.reason)

    return middleware
