"""What a caller is told of an error in a handler: a sentence and an error id, never the exception's own text."""

from __future__ import annotations

import logging

from agent_server.handlers.request_context import current_request
from agent_server.protocol.api_error import ApiError
from app.telemetry.spans import new_error_id

_log = logging.getLogger(__name__)


def failure_of(error: Exception) -> ApiError:
    """An `ApiError` that the handler raised is what it wants to say. All else is logged here, once."""
    if isinstance(error, ApiError):
        return error
    error_id = new_error_id()
    try:
        request_id = current_request().request_id
    except LookupError:
        request_id = ""
    _log.error("The handler failed, error id %s, request %s", error_id, request_id, exc_info=error)
    # Clients repeat requests that fail with 5xx, and a tool would run again.
    return ApiError(500, f"The agent failed (error id {error_id}).", type="server_error", code="server_error")
