"""A model that reads a table, then deletes it if it may, with the tools that do so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from app.common.caller import Caller
from app.models.model import Completed, ModelEvent, ModelRequest, TextDelta, ToolCall
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolOutput


class Table(ToolArguments):
    name: str


class TableDeleter:
    """`large` is how many characters it reads; to delete takes it three seconds, and an approval."""

    name = "table deleter"

    def __init__(self, large: int = 10) -> None:
        self.large = large
        self.requests: list[ModelRequest] = []
        self.read: list[str] = []
        self.deleted: list[str] = []

    @property
    def asked(self) -> int:
        return len(self.requests)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.requests.append(request)
        match len([message for message in request.messages if message.role == "tool"]):
            case 0:
                yield Completed((ToolCall("a", "read", '{"name": "sales"}'),))
            case 1:
                yield TextDelta("It is empty.")
                yield Completed((ToolCall("b", "delete", '{"name": "sales"}'),))
            case _:
                yield TextDelta("Done." if self.deleted else "Then it stays.")
                yield Completed()

    async def close(self) -> None:
        pass

    async def _read(self, table: Table, context: ToolContext) -> ToolOutput:
        self.read.append(table.name)
        return ToolOutput("0" * self.large)

    async def _more_rows(self, table: Table, context: ToolContext) -> ToolOutput:
        return ToolOutput("", sentence=f"More of {table.name}.")

    async def _delete(self, table: Table, context: ToolContext) -> ToolOutput:
        await asyncio.sleep(3)
        self.deleted.append(table.name)
        return ToolOutput("deleted")

    async def tools(self, caller: Caller) -> list[AnyTool]:
        return [
            Tool("read", "Reads.", Table, self._read, Effect.READ_ONLY),
            Tool("delete", "Deletes.", Table, self._delete, Effect.NEEDS_APPROVAL),
            Tool("more_rows", "For buttons.", Table, self._more_rows, Effect.READ_ONLY, offered=False),
        ]
