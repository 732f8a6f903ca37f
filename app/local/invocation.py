"""An invocation of a function, and what the Functions host tells the function about it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import secrets
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from azure.functions import Context

# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")


log = logging.getLogger(__name__)

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class LocalTraceContext:
    """A span of the host, in the caller's trace where there is one."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        traceparent = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
        trace_id, flags = traceparent.groups() if traceparent else (secrets.token_hex(16), "01")
        self.trace_parent = f"00-{trace_id}-{secrets.token_hex(8)}-{flags}"
        self.trace_state = headers.get("tracestate", "") if traceparent else ""
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


class Invocable(Protocol):
    """`parameter` is the name of the trigger's argument; `context`: whether the function also takes the context."""

    @property
    def name(self) -> str: ...
    @property
    def parameter(self) -> str: ...
    @property
    def context(self) -> bool: ...
    @property
    def code(self) -> Callable[..., Any]: ...


async def invoke(function: Invocable, trigger: object, headers: Mapping[str, str] = NO_HEADERS) -> object:
    """What the function returns; code that is not asynchronous runs in a thread. Raises what the code raises."""
    arguments = {function.parameter: trigger}
    if function.context:
        arguments["context"] = LocalContext(function.name, headers)
    if inspect.iscoroutinefunction(function.code):
        return await function.code(**arguments)
    return await asyncio.to_thread(function.code, **arguments)


async def succeeds(
    function: Invocable, trigger: Callable[[], object], *, ending: Callable[[], bool] = lambda: False
) -> bool:
    """Whether it returned. What it, or `trigger`, raises is logged: as an error, unless the host is `ending`."""
    try:
        await invoke(function, trigger())
    except (Exception, asyncio.CancelledError) as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        if ending():
            log.info(
                "function %s was ended with the host (%s); its message is delivered again",
                function.name,
                type(error).__name__,
            )
            return False
        log.exception("function %s failed", function.name)
        return False
    return True
