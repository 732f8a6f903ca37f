"""Errors as JSON with a sentence, never with an exception's text."""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.responses import Response

from agent_server.http.json_encoding import json_bytes
from agent_server.protocol.api_error import ApiError
from app.telemetry.spans import new_error_id

_log = logging.getLogger(__name__)

_RETRY_AFTER_SECONDS = "2"


def error_answer(error: ApiError) -> Response:
    """OpenAI's clients obey `x-should-retry`: without it they repeat every 5xx, 409 and 429 twice."""
    headers = {"x-should-retry": "true" if error.retryable else "false", "Cache-Control": "no-store"}
    if error.retryable and error.status in (429, 503):
        headers["Retry-After"] = _RETRY_AFTER_SECONDS
    return Response(json_bytes(error.body()), error.status, headers, "application/json")


def unexpected(error: BaseException, what: str) -> ApiError:
    """Logs it, and names the log's line by an error id."""
    error_id = new_error_id()
    _log.error("%s failed, error id %s", what, error_id, exc_info=error)
    return ApiError(
        500,
        f"Something went wrong in this server. The error id {error_id} finds it in the log.",
        type="server_error",
        code="internal_error",
    )


def of_status(error: HTTPException, method: str) -> ApiError:
    """What the router itself refuses."""
    if error.status_code == 404:
        return ApiError(404, "There is nothing at this address. GET /agent/info names what there is.", code="not_found")
    if error.status_code == 405:
        return ApiError(405, f"This address does not take {method}.", code="method_not_allowed")
    if error.status_code == 413:
        return too_large(None)
    return ApiError(error.status_code, "The request could not be read.", code="bad_request")


def too_large(max_bytes: int | None) -> ApiError:
    limit = f"; the limit is {max_bytes} bytes" if max_bytes else ""
    return ApiError(413, f"The body is too large{limit}.", code="request_too_large")
