"""What answers a request, in one piece or as events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

JsonObject = dict[str, Any]


class Handler(Protocol):
    async def invoke(self, request: JsonObject) -> JsonObject: ...

    def stream(self, request: JsonObject) -> AsyncGenerator[JsonObject, None]:
        """The events of the answer. Closing it, or cancelling its consumer, ends the work."""
        ...
