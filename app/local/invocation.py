"""What the Functions host tells a function about its invocation."""

from __future__ import annotations

import re
import secrets
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azure.functions import Context

# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")


class LocalTraceContext:
    """A span of the host's own, in the caller's trace where there is one."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        callers = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
        trace_id, flags = callers.groups() if callers else (secrets.token_hex(16), "01")
        self.trace_parent = f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"
        self.trace_state = headers.get("tracestate", "") if callers else ""
        self.attributes: dict[str, str] = {}


class LocalRetryContext:
    retry_count = 0
    max_retry_count = 0
    exception = None


class LocalContext(Context):
    def __init__(self, function_name: str, headers: Mapping[str, str]) -> None:
        self._function_name = function_name
        self._invocation_id = str(uuid.uuid4())
        self._trace_context = LocalTraceContext(headers)

    @property
    def invocation_id(self) -> str:
        return self._invocation_id

    @property
    def thread_local_storage(self) -> Any:  # noqa: ANN401 - the abstract property says a class, the worker gives an object
        return threading.local()

    @property
    def function_name(self) -> str:
        return self._function_name

    @property
    def function_directory(self) -> str:
        return str(Path.cwd())

    @property
    def trace_context(self) -> Any:  # noqa: ANN401 - of the worker's own class there too
        return self._trace_context

    @property
    def retry_context(self) -> Any:  # noqa: ANN401
        return LocalRetryContext()
