"""The id of a request: in its answer, and in every line that is logged for it."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar

_TAKEN = re.compile(r"[A-Za-z0-9._:-]{1,80}")
_current: ContextVar[str] = ContextVar("request_id", default="-")


def begin_request(headers: Mapping[str, str]) -> str:
    """That of the proxy or the client where it is one, else a new one. Holds for the task that calls this."""
    given = headers.get("x-request-id", "")
    request_id = given if _TAKEN.fullmatch(given) else f"req_{secrets.token_hex(12)}"
    _current.set(request_id)
    return request_id


class RequestIdFilter(logging.Filter):
    """Gives each record its `request_id`, "-" outside of a request. For handlers."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = _current.get()
        return True
