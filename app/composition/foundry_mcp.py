"""The tools of Foundry's agents over MCP, and who may call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from http import HTTPStatus

from app.access_tokens.access_token import AuthenticationUnavailableError, UnauthenticatedError
from app.access_tokens.signing_keys import SigningKeys
from app.bot.auth.bot_identity import addresses_of
from app.common.http_session import HttpSession
from app.common.refusal_log import RefusalLog
from app.config import Settings
from app.foundry.mcp.entra_callers import AcceptedTokens, EntraCallers
from app.foundry.mcp.foundry_mcp import FoundryMcp
from app.foundry.mcp.tool_calls import Requests, ToolCalls
from app.foundry.tools.foundry_tool import FoundryTool
from app.http import HttpAnswer


class OpenFoundryMcp:
    """`login_metadata_url` is Microsoft Entra ID's own unless given."""

    def __init__(
        self,
        settings: Settings,
        tools: Sequence[FoundryTool],
        requests: Requests,
        *,
        login_metadata_url: str | None = None,
    ) -> None:
        self._mcp = FoundryMcp(ToolCalls(tools, requests))
        self._session = HttpSession()
        self._callers = _entra_callers(settings, self._session, login_metadata_url)
        self._refusals = RefusalLog()

    async def receive(
        self, method: str, headers: Mapping[str, str], body: bytes, traceparent: str | None = None
    ) -> HttpAnswer:
        """`POST /api/mcp`, of a caller whose function key the host has checked."""
        return await self._mcp.receive(method, headers, body, traceparent)

    async def receive_with_token(
        self, method: str, headers: Mapping[str, str], body: bytes, traceparent: str | None = None
    ) -> HttpAnswer:
        """`POST /api/mcp/entra`."""
        authorization = next((value for name, value in headers.items() if name.lower() == "authorization"), None)
        try:
            await self._callers.authenticate(authorization)
        except UnauthenticatedError as refusal:
            self._refusals.note(f"401, MCP: {refusal}")
            asks = {"WWW-Authenticate": "Bearer"}
            return HttpAnswer(HTTPStatus.UNAUTHORIZED, "This call is not authenticated.", headers=asks)
        except AuthenticationUnavailableError as failure:
            self._refusals.note(f"503, MCP: {failure}")
            return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, "The caller cannot be authenticated now. Call again.")
        return await self._mcp.receive(method, headers, body, traceparent)

    async def close(self) -> None:
        self._refusals.close()
        async with AsyncExitStack() as closing:
            for part in (self._session, self._callers, self._mcp):
                closing.push_async_callback(part.close)


def _entra_callers(settings: Settings, session: HttpSession, metadata_url: str | None) -> EntraCallers:
    tenant, addresses = settings.bot.tenant_id or "", addresses_of(settings.bot.cloud)
    accepted = AcceptedTokens(
        settings.foundry_mcp.audience,
        settings.foundry_mcp.callers,
        tenant,
        frozenset(addresses.login_issuers(tenant)),
    )
    default_url = f"{addresses.login}/{tenant}/v2.0/.well-known/openid-configuration"
    return EntraCallers(accepted, SigningKeys(metadata_url or default_url, session))
