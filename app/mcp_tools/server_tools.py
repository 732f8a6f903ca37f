"""The tools of one MCP server: listed now and then, called over a connection that is kept."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from app.common.identity import APP_IDENTITY, RequestIdentity
from app.common.text import replace_lone_surrogates
from app.databricks.workspace_errors import CredentialError
from app.mcp_tools.authorization import Authorization
from app.mcp_tools.tool_names import model_name
from app.settings.mcp_settings import McpServer
from app.tools.base import AnyTool, Effect, RawArguments, Tool, ToolContext, ToolError, ToolOutput
from app.translation import Sentence

if TYPE_CHECKING:
    import mcp.types

    from app.mcp_tools.connection import McpConnection

_log = logging.getLogger(__name__)

CALL_SECONDS = 90.0
LIST_SECONDS = 20.0
_LISTED_FOR_SECONDS = 300.0
_TRY_AGAIN_SECONDS = 30.0
_MAX_TOOLS = 100
_CONNECTION_CLOSED = -32000
_INVALID_REQUEST = -32600
_SESSION_NOT_FOUND = -32001
_METHOD_NOT_FOUND = -32601
_MAX_PAGES = 20
_MAX_CONNECTIONS = 20
_MAX_SCHEMA_CHARACTERS = 20_000
_MAX_DESCRIPTION_CHARACTERS = 1_000
_MAX_TITLE_CHARACTERS = 100

CONNECTING = Sentence("it is still being connected; please ask again in a moment")
DOES_NOT_ANSWER = Sentence("it does not answer")
REFUSES_ACCESS = Sentence("it refuses access; its administrator can check the permissions and the token")


class McpServerTools:
    """`reason` says why there are no tools, None where there are."""

    def __init__(
        self, server: McpServer, authorization: Authorization, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = server.name
        self.reason: Sentence | None = CONNECTING
        self._server = server
        self._authorization = authorization
        self._clock = clock
        self._tools: tuple[AnyTool, ...] = ()
        self._list_again_at = 0.0
        self._listing: asyncio.Task[None] | None = None
        self._connections: dict[RequestIdentity, McpConnection] = {}

    @property
    def tools(self) -> Sequence[AnyTool]:
        return self._tools

    def listing(self) -> asyncio.Task[None] | None:
        """The task that lists the tools anew, where that is due. It may go on after a turn has given up on it."""
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(self._list()) if self._clock() >= self._list_again_at else None
        return self._listing

    async def close(self) -> None:
        if self._listing is not None:
            self._listing.cancel()
            await asyncio.wait({self._listing})
        await asyncio.gather(*(connection.close() for connection in self._connections.values()))
        self._connections.clear()

    async def _list(self) -> None:
        try:
            async with asyncio.timeout(LIST_SECONDS):
                try:
                    found = await self._listed()
                except Exception:
                    # The connection may have been lost since it was used last.
                    await self._drop(APP_IDENTITY)
                    found = await self._listed()
            self._tools = tuple(self._unique(found))
            self.reason = None
            self._list_again_at = self._clock() + _LISTED_FOR_SECONDS
        except Exception as error:
            await self._drop(APP_IDENTITY)
            self._tools = ()
            refused = isinstance(error, CredentialError) or getattr(error, "status", None) in (401, 403)
            self.reason = REFUSES_ACCESS if refused else DOES_NOT_ANSWER
            self._list_again_at = self._clock() + _TRY_AGAIN_SECONDS
            _log.warning("MCP server %s: its tools cannot be listed (%s)", self.name, type(error).__name__)

    async def _listed(self) -> list[mcp.types.Tool]:
        client = await self._connected(APP_IDENTITY)
        found: list[mcp.types.Tool] = []
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            page = await client.list_tools(cursor=cursor, cache_mode="refresh")
            found += page.tools
            cursor = page.next_cursor
            if not cursor or len(found) >= _MAX_TOOLS:
                break
        return found[:_MAX_TOOLS]

    def _unique(self, listed: Sequence[mcp.types.Tool]) -> list[AnyTool]:
        tools: dict[str, AnyTool] = {}
        for each in listed:
            if not _is_acceptable(each.input_schema):
                _log.warning("MCP server %s: a tool is left out for its schema", self.name)
                continue
            tools.setdefault(each.name, self._tool(each))
        return list(tools.values())

    def _tool(self, listed: mcp.types.Tool) -> AnyTool:
        async def run(arguments: RawArguments, context: ToolContext) -> ToolOutput:
            return await self._call(listed.name, dict(arguments.values), context)

        # What the server says of itself in `annotations` does not count.
        effect = Effect.READ_ONLY if listed.name in self._server.read_only else Effect.NEEDS_APPROVAL
        title = " ".join(replace_lone_surrogates(listed.title or listed.name).split())
        return Tool(
            model_name(self.name, listed.name),
            replace_lone_surrogates(listed.description or "")[:_MAX_DESCRIPTION_CHARACTERS],
            RawArguments,
            run,
            effect,
            timeout_seconds=CALL_SECONDS,
            title=f"{self.name}: {title}"[:_MAX_TITLE_CHARACTERS],
            schema=listed.input_schema,
        )

    async def _call(self, tool: str, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        # After a failure the tools are listed anew: one that was renamed may be why.
        from mcp import MCPError  # noqa: PLC0415 - imported by the time that a tool is listed

        from app.mcp_tools.connection import McpConnectionError  # noqa: PLC0415
        from app.mcp_tools.tool_results import output_of  # noqa: PLC0415

        async def told(_progress: float, _total: float | None, message: str | None) -> None:
            if message:
                context.progress(message[:1000])

        identity = context.identity if self._authorization.personal else APP_IDENTITY
        may_be_lost = True
        for is_last in (tool not in self._server.read_only, True):
            try:
                client = await self._connected(identity)
                meta: Any = dict(self._server.meta) or None
                result = await client.call_tool(tool, arguments, progress_callback=told, meta=meta)
            except CredentialError:
                raise ToolError(f"there is no token for the MCP server {self.name}") from None
            except McpConnectionError as error:
                await self._drop(identity)
                raise ToolError(f"the MCP server {self.name} does not answer ({error})") from None
            except MCPError as error:
                self._list_again_at = 0.0
                session_lost = self._is_lost_session(identity, error.code, str(error), tool) and may_be_lost
                may_be_lost = False
                if error.code != _CONNECTION_CLOSED and not session_lost:
                    raise ToolError(str(error)[:1000]) from None
                await self._drop(identity)
                if is_last and not session_lost:
                    raise ToolError(f"the MCP server {self.name} broke off; whether it did this is not known") from None
            except (OSError, RuntimeError, ValueError) as error:
                await self._drop(identity)
                if is_last:
                    raise ToolError(f"the MCP server {self.name} broke off ({type(error).__name__})") from None
            else:
                if result.is_error:
                    self._list_again_at = 0.0
                return output_of(result)
        raise ToolError(f"the MCP server {self.name} does not answer")

    def _is_lost_session(self, identity: RequestIdentity, code: int, message: str, tool: str) -> bool:
        """A server that was started anew knows no session, and did nothing. mcp does not begin another one by itself:
        https://github.com/modelcontextprotocol/python-sdk/issues/3556. Not every server says so with 404.
        """
        if code in (_INVALID_REQUEST, _SESSION_NOT_FOUND) and message.lower().startswith("session "):
            return True
        status = self._connections[identity].refused_with if identity in self._connections else None
        if tool in self._server.read_only:
            return status in (400, 401, 403, 404)
        return status == 404 and code in (_INVALID_REQUEST, -_INVALID_REQUEST, _METHOD_NOT_FOUND)

    async def _connected(self, identity: RequestIdentity) -> Any:  # noqa: ANN401 - mcp's Client, not imported here
        # Asked for here as well, since the connection would break with what it raises.
        await self._authorization.token(identity)
        return await (await self._connection(identity)).client()

    async def _connection(self, identity: RequestIdentity) -> McpConnection:
        module = await asyncio.to_thread(_import_connection)
        kept = self._connections.get(identity)
        if kept is not None and kept.is_open:
            # A person's token is another one at each turn.
            kept.identity = identity
            return kept
        while len(self._connections) >= _MAX_CONNECTIONS:
            await self._drop(next(iter(self._connections)))
        self._connections[identity] = module.McpConnection(self._server.url, self._authorization, identity)
        return self._connections[identity]

    async def _drop(self, identity: RequestIdentity) -> None:
        if (connection := self._connections.pop(identity, None)) is not None:
            await connection.close()


def _is_acceptable(schema: Mapping[str, Any]) -> bool:
    """mcp has seen to it that the arguments are an object."""
    try:
        return len(json.dumps(schema)) <= _MAX_SCHEMA_CHARACTERS
    except (ValueError, RecursionError):
        return False


def _import_connection() -> Any:  # noqa: ANN401 - the module
    """The first import takes 1.5 s and 40 MB: in a thread, and only where a server is configured."""
    from app.mcp_tools import connection  # noqa: PLC0415

    return connection
