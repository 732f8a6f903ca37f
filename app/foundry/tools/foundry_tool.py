"""What a tool of Foundry's agents is, whichever way the call comes in."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.common.cancellation import Cancellation


@dataclass(frozen=True, slots=True)
class ToolCallContext:
    """`call_id` names the call, and is the same when another worker makes it again. `deadline` is on the event loop's
    clock. `progress` is told one short line, in English.
    """

    call_id: str
    deadline: float = math.inf
    cancellation: Cancellation | None = None
    progress: Callable[[str], None] = lambda _: None


class RefusedCallError(Exception):
    """The call cannot be answered as it is. `str()` is a sentence for the agent that called, and may be shown."""


class FailedCallError(RefusedCallError):
    """The call failed, and the log says why. `str()` has the error id if there is one."""


PreparedCall = Callable[[ToolCallContext], Coroutine[Any, Any, str]]
"""The answer as Markdown, with its sources as numbered links at the end; of any length.

Raises `RefusedCallError`, of which `FailedCallError` is one; any other exception is a fault of ours, whose text nobody
may see.
"""


class FoundryTool(Protocol):
    """Only reads, so a call may be made again. `name` is that of the function in Foundry; `queue_name` the <name> of
    its queues, `azure-function-<name>-input` and `-output`. `parameters` is a JSON schema without `anyOf`, `allOf` and
    `$ref`.
    """

    @property
    def name(self) -> str: ...

    @property
    def queue_name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, Any]: ...

    def prepare(self, arguments: Mapping[str, Any]) -> PreparedCall:
        """Waits for nothing. `arguments` are untrusted, and may have others than the schema's. Raises
        `RefusedCallError`.
        """
        ...
